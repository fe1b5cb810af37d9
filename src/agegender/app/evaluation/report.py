"""What eval found: per-face results, their CSV, tables by group."""

from __future__ import annotations

import csv
import io
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.app.evaluation.images import Origin
from agegender.app.evaluation.texts import tell
from agegender.app.messages import say
from agegender.calibration import SHARE, Calibration
from agegender.files import write_text
from agegender.labels import FEMALE, MALE, UNKNOWN
from agegender.metrics import ScoreKeeper, Scores, decade_scores, group_scores
from agegender.metrics.calibration import BINS, expected_calibration_error, interval_scores
from agegender.report.texts import group_names

COLUMNS = (
    *("key", "path", "source", "group", "gender", "age"),
    *("predicted_gender", "gender_probability", "predicted_age", "error"),
)
# Two more where any age is known by a bin only.
BIN_COLUMNS = ("low", "high")
CUM_YEARS = 5


@dataclass(frozen=True, kw_only=True)
class Results:
    """Predictions of n faces: ``rows`` (n,) places in the set, ``labels`` (n, 2) gender, age (-1 unknown), or
    (n, 5) with bins.

    ``male`` (n,) probability of male and ``age`` (n,) years; None where the model was not trained for it. ``ends``
    (n, 2) years by share: intervals of the model's own distribution over ages, those that were asked for. ``doubt``
    (n,) by name: how far passes of Monte Carlo dropout are apart (``passes.Doubt``), where they were asked for.
    """

    rows: npt.NDArray[np.int64]
    labels: npt.NDArray[np.float32]
    male: npt.NDArray[np.float64] | None
    age: npt.NDArray[np.float64] | None
    ends: dict[float, npt.NDArray[np.float64]] = field(default_factory=dict)
    doubt: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)

    def scores(self) -> Scores:
        """Return the figures over all faces."""
        keeper = ScoreKeeper()
        keeper.update(labels=self.labels, gender_probability=self.male, age=self.age)
        return keeper.compute()

    @property
    def exact_ages(self) -> npt.NDArray[np.float32]:
        """Return the ages (n,) in years; -1 where nothing, or no more than a bin, is known."""
        return exact_ages(self.labels)

    def genders(self) -> npt.NDArray[np.float64] | None:
        """Return the probabilities (n, 2) of female and male, None where the model was not trained for gender."""
        return None if self.male is None else np.stack([1 - self.male, self.male], axis=1)

    def by(self, column: str, origins: Sequence[Origin], *, lang: str) -> dict[str, Scores]:
        """Return the figures by ``column`` (group, source, age in decades, gender); {} where none is known.

        Codes of groups have their meaning before them where the set's source is one whose codes are known.
        """
        if column == "age":
            return decade_scores(labels=self.labels, gender_probability=self.male, age=self.age)
        if column == "gender":
            words = {FEMALE: say("female", lang), MALE: say("male", lang)}
            names = [words.get(int(gender), "") for gender in self.labels[:, 0]]
        else:
            names = [str(getattr(origins[row], column)) for row in self.rows.tolist()]
        if not any(names):
            return {}
        found = group_scores(names, labels=self.labels, gender_probability=self.male, age=self.age)
        if column == "group":
            meanings = group_names({origins[row].source for row in self.rows.tolist()}, lang)
            return {meanings.get(name, name): scores for name, scores in found.items()}
        return found


def exact_ages(labels: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the ages (n,) of ``labels`` (n, 2) or (n, 5); -1 where nothing, or no more than a bin, is known."""
    if labels.shape[1] == 2:
        return labels[:, 1]
    return np.where(labels[:, 3] > labels[:, 2], np.float32(UNKNOWN), labels[:, 1])


def figures(scores: Scores, results: Results, *, lang: str) -> list[str]:
    """Return the lines that eval prints: faces, acc, MAE, CUM_5 and the older convention; nan where none is known.

    Of what the model wasn't trained for there is one line that says so.
    """
    n_gender, n_age = (int(np.count_nonzero(known >= 0)) for known in (results.labels[:, 0], results.exact_ages))
    lines = [say("counts", lang, n=scores.n, n_gender=n_gender, n_age=n_age)]
    if results.male is None:
        lines.append(tell("no_gender", lang))
    else:
        lines.append(say("acc", lang, value=scores.acc, n=scores.n_gender))
    if results.age is None:
        return [*lines, tell("no_age", lang)]
    lines += [
        say("mae", lang, value=scores.mae, n=scores.n_age),
        say("cum", lang, years=CUM_YEARS, value=scores.cum[CUM_YEARS], n=scores.n_age),
        say("within3", lang, value=scores.within3_rounded, n=scores.n_age),
    ]
    if scores.n_bin:
        lines.append(say("bins", lang, value=scores.bin_acc, near=scores.bin_1off, n=scores.n_bin))
    return lines


def calibration_figures(results: Results, calibration: Calibration, *, lang: str) -> list[str]:
    """Return the lines about how far confidence can be relied on, with ``calibration`` applied; nan where unknown.

    There is none of what the model wasn't trained for. ``results.ends`` must hold the interval for ``SHARE`` where the
    model has a distribution over ages.
    """
    stored = "calibrated" if calibration.epoch is not None or not calibration.empty else "uncalibrated"
    lines = [say(stored, lang, temperature=calibration.gender_temperature)]
    genders = results.genders()
    if genders is not None:
        error = expected_calibration_error(calibration.gender(genders), results.labels[:, 0])
        known = int(np.count_nonzero(results.labels[:, 0] >= 0))
        lines.append(say("ece", lang, value=error, bins=BINS, n=known))
    if results.age is not None:
        ends = calibration.correct(results.ends.get(SHARE), age=results.age)
        if ends is None:
            ends = np.empty((0, 2))
        ages = interval_scores(ends, results.exact_ages[: len(ends)])
        lines.append(say("coverage", lang, percent=round(100 * SHARE), value=ages.coverage, width=ages.width, n=ages.n))
    return lines


def table(scores: dict[str, Scores], results: Results, *, title: str) -> list[str]:
    """Return a table of figures as lines, a group per line; no column is of what the model wasn't trained for."""
    width = max(columns_of(name) for name in (title, *scores))
    heads = ["n", *(["acc"] if results.male is not None else [])]
    heads += ["MAE", "CUM_5", "bias"] if results.age is not None else []
    lines = [padded(title, width) + "".join(f"  {head:>7}" for head in heads)]
    for name, of in scores.items():
        cells = {
            "n": f"{of.n}",
            "acc": f"{of.acc:.4f}",
            "MAE": f"{of.mae:.3f}",
            "CUM_5": f"{of.cum[CUM_YEARS]:.4f}",
            "bias": f"{of.bias:+.2f}",
        }
        lines.append(padded(name, width) + "".join(f"  {cells[head]:>7}" for head in heads))
    return lines


def columns_of(text: str) -> int:
    """Return how many columns of a terminal a text takes: Chinese characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def padded(text: str, width: int) -> str:
    """Return ``text`` with spaces up to ``width`` columns of a terminal."""
    return text + " " * (width - columns_of(text))


def write_faces(path: Path, results: Results, origins: Sequence[Origin]) -> None:
    """Write a line per face, in the set's order: what is known of it and what was predicted; unknown cells are empty.

    ``gender`` is 0 female, 1 male; ``gender_probability`` that of ``predicted_gender``; ``error`` is predicted minus
    true age in years. Where any age is a bin's, ``BIN_COLUMNS`` follow: its first and last year, empty for other ages;
    then what there is of ``results.doubt``.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    binned = bool((exact_ages(results.labels) != results.labels[:, 1]).any())
    writer.writerow([*COLUMNS, *(BIN_COLUMNS if binned else ()), *results.doubt])
    for index, row in enumerate(results.rows.tolist()):
        origin = origins[row]
        known = [origin.key, origin.path, origin.source, origin.group]
        more = [*(_bin_cells(results.labels[index]) if binned else ())]
        more += [f"{values[index]:.4f}" for values in results.doubt.values()]
        writer.writerow([*known, *_cells(results, index), *more])
    write_text(path, text.getvalue())


def _cells(results: Results, index: int) -> list[Any]:
    label = results.labels[index].tolist()
    gender, age = (int(value) if value >= 0 else "" for value in label[:2])
    binned = len(label) > 2 and label[3] > label[2]  # then the age is the middle of a bin
    predicted_gender: Any = ""
    probability = years = error = ""
    if results.male is not None:
        male = float(results.male[index])
        predicted_gender = MALE if male > 0.5 else FEMALE
        probability = f"{max(male, 1 - male):.4f}"
    if results.age is not None:
        years = f"{results.age[index]:.3f}"
        error = "" if age == "" or binned else f"{results.age[index] - age:+.3f}"
    return [gender, age, predicted_gender, probability, years, error]


def _bin_cells(label: npt.NDArray[np.float32]) -> list[Any]:
    low, high = label[2:4].tolist()
    return [int(low), int(high)] if high > low else ["", ""]
