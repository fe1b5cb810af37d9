"""``eval --mc_dropout``: how far the passes of Monte Carlo dropout are apart, and whether that tells who is wrong."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.app.evaluation.report import Results
from agegender.app.messages import say
from agegender.doubt import NUMBERS
from agegender.labels import MALE
from agegender.metrics.ranks import area_under_roc, rank_correlation
from agegender.readout import Reading

Floats = npt.NDArray[np.float64]


class DoubtKeeper:
    """Collects the doubt of batches of faces."""

    def __init__(self) -> None:
        self._found: dict[str, list[Floats]] = defaultdict(list)

    def add(self, views: Sequence[Reading]) -> None:
        """Take up a batch, of which ``views`` are readings (a face and its mirror image): their mean counts."""
        for name in NUMBERS:
            each = [getattr(view.doubt, name) for view in views if view.doubt is not None]
            known = [values for values in each if values is not None]
            if known:
                self._found[name].append(np.mean(known, axis=0, dtype=np.float64))

    def compute(self) -> dict[str, Floats]:
        """Return (n,) by name, of what is known."""
        return {name: np.concatenate(parts) for name, parts in self._found.items()}


def doubt_figures(results: Results, *, passes: int, seed: int, lang: str) -> Iterator[str]:
    """Yield the lines about ``results.doubt``; figures are nan where no label is known."""
    yield say("passes", lang, passes=passes, seed=seed)
    ages, genders = results.exact_ages, results.labels[:, 0]
    for name, values in results.doubt.items():
        told: dict[str, Any] = {"mean": values.mean(), "median": np.median(values)}
        if name == "gender_entropy" and results.male is not None:
            known = genders >= 0
            wrong = (results.male > 0.5) != (genders == MALE)
            told |= {"n": int(known.sum()), "value": area_under_roc(values[known], wrong[known])}
        elif results.age is not None:
            known = ages >= 0
            error = np.abs(results.age - ages)
            told |= {"n": int(known.sum()), "value": rank_correlation(values[known], error[known])}
        yield say(name, lang, **told)
