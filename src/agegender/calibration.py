"""What turns a model's own confidence into one that can be relied on: a temperature and corrected age intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.age_distribution import age_interval, expected_age
from agegender.errors import CheckpointError, UsageError
from agegender.labels import MAX_AGE

Floats = npt.NDArray[np.float64]

# The share of people whose age the stated interval holds.
SHARE = 0.8
# A float32 softmax may say exactly 0, of which there is no logarithm.
SMALLEST_PROBABILITY = float(np.finfo(np.float32).tiny)
# No temperature and no number of years is near it.
_LARGEST = 1e6


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Corrections measured on a validation set, stored in ``prefix.json``; without any, outputs stay as they are.

    ``gender_temperature`` T turns probabilities p into softmax(log p / T) (Guo et al., ICML 2017). ``age_shifts`` are
    (share, years) in ascending order of share: both ends of the interval for that share move outward by so many years,
    inward where negative, but those at 0 or 100 stay (conformalised quantile regression, Romano et al., NeurIPS 2019).
    For models that give no distribution over ages, ``residual_widths`` are (share, half-widths in years at each
    predicted age of ``residual_ages``). Other shares are interpolated; beyond the outermost stored one its own
    correction is used. ``epoch`` is the epoch of the model that was measured, None where nobody knows. No age and no
    gender changes.
    """

    gender_temperature: float = 1.0
    age_shifts: tuple[tuple[float, float], ...] = ()
    residual_ages: tuple[float, ...] = ()
    residual_widths: tuple[tuple[float, tuple[float, ...]], ...] = ()
    epoch: int | None = None

    @property
    def empty(self) -> bool:
        """Whether nothing is corrected."""
        return self.gender_temperature == 1 and not self.age_shifts and not self.residual_widths

    @classmethod
    def from_json(
        cls, document: Mapping[str, Any], *, epoch: int | None = None, where: str = "calibration"
    ) -> Calibration:
        """Return what ``to_json`` wrote; {} is no correction, and so is one measured on another epoch than ``epoch``.

        Members with other names are passed over. Raises CheckpointError that names ``where`` and the field.
        """
        read = _Reader(where, document)
        found = cls(
            gender_temperature=read.number("gender_temperature", default=1.0, lowest=0),
            age_shifts=read.by_share("age_shifts", read.any_number),
            residual_ages=read.ages("residual_ages"),
            residual_widths=read.by_share("residual_widths", read.widths),
            epoch=read.epoch("epoch"),
        )
        for share, widths in found.residual_widths:
            if len(widths) != len(found.residual_ages) or not widths:
                field = f"residual_widths.{share:g}"
                raise CheckpointError(
                    f"{where}: {field} has {len(widths)} widths for {len(found.residual_ages)} residual_ages"
                )
        return cls() if None not in (epoch, found.epoch) and found.epoch != epoch else found

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON-able values, what corrects nothing left out."""
        document: dict[str, Any] = {}
        if self.epoch is not None:
            document["epoch"] = self.epoch
        if self.gender_temperature != 1:
            document["gender_temperature"] = self.gender_temperature
        if self.age_shifts:
            document["age_shifts"] = {f"{share:g}": years for share, years in self.age_shifts}
        if self.residual_widths:
            document["residual_ages"] = list(self.residual_ages)
            document["residual_widths"] = {f"{share:g}": list(widths) for share, widths in self.residual_widths}
        return document

    def gender(self, probabilities: npt.ArrayLike) -> Floats:
        """Return calibrated probabilities (n, 2) of ``probabilities`` (n, 2): the more likely gender stays so."""
        values = np.asarray(probabilities, np.float64)
        return values if self.gender_temperature == 1 else temper(values, self.gender_temperature)

    def interval(
        self, distribution: npt.ArrayLike | None, *, age: npt.ArrayLike | None = None, share: float = SHARE
    ) -> Floats | None:
        """Return (n, 2) ages in years between which ``share`` of the true ages lie.

        ``distribution`` is (n, 101), age i at column i; None for a model that has none. ``age`` (n,) is the predicted
        age, the distribution's expectation where it is None; a corrected interval always holds it. Returns None where
        there is neither a distribution nor a stored residual. Raises ValueError where ``share`` is not within 0..1 or
        both arguments are None.
        """
        if distribution is not None and age is None:
            age = expected_age(distribution)
        if age is None:
            raise ValueError("an interval needs a distribution or an age")
        ends = None if distribution is None else age_interval(distribution, share=share)
        return self.correct(ends, age=age, share=share)

    def correct(self, ends: npt.ArrayLike | None, *, age: npt.ArrayLike, share: float = SHARE) -> Floats | None:
        """Return the corrected interval (n, 2) of ``ends`` (n, 2), the ``share`` interval of a distribution.

        ``age`` is (n,) predicted years. ``ends`` None and the result are as in ``interval``.
        """
        if not 0 < share < 1:
            raise ValueError(f"share {share} is not between 0 and 1")
        years = np.asarray(age, np.float64).reshape(-1)
        if ends is not None:
            found = np.asarray(ends, np.float64)
            if not self.age_shifts:
                return found
            shares, shifts = zip(*self.age_shifts)
            shift = float(_weights(share, shares) @ np.array(shifts))
            # An end that was cut at 0 or at the highest age is no quantile to be moved inward.
            low = np.where(found[:, 0] <= 0, 0, found[:, 0] - shift)
            high = np.where(found[:, 1] >= MAX_AGE, MAX_AGE, found[:, 1] + shift)
        elif self.residual_widths:
            shares, widths = zip(*self.residual_widths)
            half = _weights(share, shares) @ [np.interp(years, self.residual_ages, each) for each in widths]
            low, high = years - half, years + half
        else:
            return None
        return np.asarray(np.clip(np.stack([np.minimum(low, years), np.maximum(high, years)], axis=1), 0, MAX_AGE))


def temper(probabilities: npt.ArrayLike, temperature: float) -> Floats:
    """Return softmax(log p / ``temperature``) along the last axis: flatter above 1, sharper below."""
    logits = np.log(np.maximum(np.asarray(probabilities, np.float64), SMALLEST_PROBABILITY)) / temperature
    mass = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(mass / mass.sum(axis=-1, keepdims=True))


def is_confident(probabilities: npt.ArrayLike, min_confidence: float) -> npt.NDArray[np.bool_]:
    """Return (n,) whether the more likely gender of ``probabilities`` (n, 2), calibrated, reaches ``min_confidence``.

    Where it doesn't, the gender counts as unknown. An age is never withheld: how sure it is, its interval says.
    """
    return np.asarray(np.asarray(probabilities).max(axis=-1) >= min_confidence)


def check_min_confidence(value: float, *, name: str = "min_confidence") -> None:
    """Raise UsageError, calling the value ``name``, where it is no probability; at 0.5 and below nothing abstains."""
    if not 0 <= value <= 1:
        raise UsageError(f"{name} {value:g} is not within 0..1 (0: never abstain)")


def _weights(share: float, shares: tuple[float, ...]) -> Floats:
    """Return how much each stored share counts for ``share``: linear between two of them."""
    return np.array([np.interp(share, shares, unit) for unit in np.eye(len(shares))])


class _Reader:
    """Takes fields out of a JSON document and names the field that doesn't fit."""

    def __init__(self, where: str, document: Mapping[str, Any]) -> None:
        self._where = where
        self._document = document

    def number(self, field: str, *, default: float, lowest: float) -> float:
        value = self._document.get(field, default)
        if not _is_number(value) or value <= lowest:
            raise self._wrong(field, value, f"a number above {lowest:g}")
        return float(value)

    def epoch(self, field: str) -> int | None:
        value = self._document.get(field)
        if value is not None and type(value) is not int:
            raise self._wrong(field, value, "a whole number")
        return value

    def ages(self, field: str) -> tuple[float, ...]:
        values = self._numbers(field, self._document.get(field, []))
        if any(later <= earlier for earlier, later in pairwise(values)):
            raise self._wrong(field, list(values), "a list of rising ages")
        return values

    def by_share(self, field: str, read: Any) -> tuple[Any, ...]:
        """Return (share, what ``read`` makes of the value) of each member, the smallest share first."""
        members = self._document.get(field, {})
        if not isinstance(members, dict):
            raise self._wrong(field, members, "an object with a member for each share")
        found = {}
        for name, value in members.items():
            try:
                share = float(name)
            except ValueError:
                share = 0.0
            if not 0 < share < 1:
                raise self._wrong(f"{field}.{name}", name, "a share between 0 and 1")
            found[share] = read(f"{field}.{name}", value)
        return tuple(sorted(found.items()))

    def any_number(self, field: str, value: Any) -> float:
        if not _is_number(value):
            raise self._wrong(field, value, "a number of years")
        return float(value)

    def widths(self, field: str, value: Any) -> tuple[float, ...]:
        values = self._numbers(field, value)
        if any(width < 0 for width in values):
            raise self._wrong(field, value, "a list of widths of at least 0")
        return values

    def _numbers(self, field: str, value: Any) -> tuple[float, ...]:
        if not isinstance(value, list) or not all(_is_number(item) for item in value):
            raise self._wrong(field, value, "a list of numbers")
        return tuple(float(item) for item in value)

    def _wrong(self, field: str, value: Any, wanted: str) -> CheckpointError:
        return CheckpointError(f"{self._where}: {field} is {value!r}, not {wanted}")


def _is_number(value: Any) -> bool:
    # Compared, because a whole number of JSON may be too large for a float.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LARGEST
