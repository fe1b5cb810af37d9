"""The faces that a model is most wrong about, kept as they went through the net."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.app.evaluation.faces import FaceRows
from agegender.app.evaluation.images import Origin
from agegender.app.evaluation.report import exact_ages
from agegender.face.photo import encode_jpeg
from agegender.labels import MALE
from agegender.report.page import Picture, Worst

Floats = npt.NDArray[np.float64]
_QUALITY = 88


@dataclass(frozen=True, kw_only=True)
class _Kept:
    """A face: how wrong (larger is worse), its row in the set, what is true and what was predicted, its crop."""

    wrong: float
    row: int
    true: float
    predicted: float
    crop: npt.NDArray[np.uint8]


class WorstFaces:
    """Keeps ``count`` faces with the largest age errors, and as many whose gender is most surely wrong."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._kept: dict[str, list[_Kept]] = {"worst": [], "worst_gender": []}

    def offer(self, batch: FaceRows, *, male: Floats | None, age: Floats | None) -> None:
        """Look at a batch: ``male`` (n,) probability, ``age`` (n,) years, None where the model doesn't tell it."""
        if age is not None:
            years = exact_ages(batch.labels).astype(np.float64)
            self._take("worst", batch, np.where(years >= 0, np.abs(age - years), -np.inf), years, age)
        if male is not None:
            gender = batch.labels[:, 0].astype(np.float64)
            other = np.where(gender == MALE, 1 - male, male)
            self._take("worst_gender", batch, np.where((gender >= 0) & (other > 0.5), other, -np.inf), gender, other)

    def chosen(self, origins: Sequence[Origin], words: Sequence[str]) -> Worst | None:
        """Return the faces with their captions: by age, else by gender; None where nothing is known of either.

        ``words`` are female and male in the page's language.
        """
        for kind, kept in self._kept.items():
            if kept:
                return Worst(kind=kind, pictures=[_picture(kind, each, origins[each.row], words) for each in kept])
        return None

    def _take(self, kind: str, batch: FaceRows, wrong: Floats, true: Floats, predicted: Floats) -> None:
        kept = self._kept[kind]
        for place in np.argsort(-wrong, kind="stable")[: self._count].tolist():
            # A prediction that is no number is in the figures, but has no place in an order.
            if np.isfinite(wrong[place]) and (len(kept) < self._count or wrong[place] > kept[-1].wrong):
                values: dict[str, Any] = {"wrong": wrong, "true": true, "predicted": predicted}
                one = {name: float(of[place]) for name, of in values.items()}
                kept.append(_Kept(**one, row=int(batch.rows[place]), crop=batch.data[place].copy()))
                kept.sort(key=lambda each: -each.wrong)
                del kept[self._count :]


def _picture(kind: str, kept: _Kept, origin: Origin, words: Sequence[str]) -> Picture:
    if kind == "worst":
        caption = f"{kept.true:.0f} → {kept.predicted:.0f}"
    else:
        caption = f"{words[int(kept.true)]}, {kept.predicted:.0%}"
    name = f"{origin.key} {origin.path}".strip()
    return Picture(caption=caption, alt=f"{name}: {caption}", jpeg=encode_jpeg(kept.crop, _QUALITY))
