"""Scores of gender and age predictions, kept as sums so that any number of batches costs no memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.labels import BIN_WIDTH, FEMALE, MALE, UNKNOWN
from agegender.metrics.bins import BinKeeper

LARGEST_CUM = 15
OLDER_CONVENTION_YEARS = 3


@dataclass(frozen=True, kw_only=True)
class Scores:
    """What a set of predictions scored. A figure is nan where no label is known.

    ``acc`` is the share of correct genders and ``balanced_acc`` the mean of the two genders' own shares;
    ``mae``, ``rmse`` and ``bias`` (predicted minus true) are years; ``cum[n]`` is the share of faces with
    ``|error| <= n`` on the expected age, for n = 0..15 (the literature's CS@n; some papers use ``<``).
    ``within3_rounded`` is the convention of older repositories: the share whose age, rounded to whole years, is at
    most 3 years off. ``n_bin`` faces are known by a bin of ages only: they are in none of the figures in years, but in
    ``bin_acc``, the share predicted into the right bin, and ``bin_1off``, into that or one beside it.
    """

    n: int
    n_gender: int
    n_age: int
    acc: float
    balanced_acc: float
    mae: float
    rmse: float
    bias: float
    within3_rounded: float
    cum: dict[int, float]
    n_bin: int = 0
    bin_acc: float = float("nan")
    bin_1off: float = float("nan")

    def as_json(self) -> dict[str, Any]:
        """Return the figures under their usual names (``acc``, ``MAE``, ``CUM_5`` ...); None where one is nan."""
        figures: dict[str, Any] = {"n": self.n, "n_gender": self.n_gender, "n_age": self.n_age}
        shares = {
            "acc": self.acc,
            "balanced_acc": self.balanced_acc,
            "MAE": self.mae,
            **{f"CUM_{years}": share for years, share in self.cum.items()},
            "RMSE": self.rmse,
            "bias": self.bias,
            "within3_rounded": self.within3_rounded,
        }
        if self.n_bin:
            figures["n_bin"] = self.n_bin
            shares |= {"bin_acc": self.bin_acc, "bin_1off": self.bin_1off}
        return figures | {name: None if np.isnan(value) else value for name, value in shares.items()}


class ScoreKeeper:
    """Collect predictions batch by batch: ``update``, ``compute``, ``reset``.

    Unknown labels (-1, or nan) are left out of that head's figures. A prediction that is not finite counts as wrong
    (and makes MAE, RMSE and bias nan), so that a broken net can't score well.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self._faces = 0
        # Per true gender (female, male): faces seen, faces right.
        self._gender_seen = np.zeros(2, np.int64)
        self._gender_right = np.zeros(2, np.int64)
        # Faces by whole years of error, rounded up; the last bin holds all beyond LARGEST_CUM.
        self._years_off = np.zeros(LARGEST_CUM + 2, np.int64)
        # Sums of |error|, error ** 2 and error, in years.
        self._error_sums = np.zeros(3, np.float64)
        self._within_older = 0
        self._bins = BinKeeper()

    def update(
        self,
        *,
        labels: npt.ArrayLike,
        gender_probability: npt.ArrayLike | None = None,
        age: npt.ArrayLike | None = None,
    ) -> None:
        """Add a batch of n faces.

        ``labels`` is (n, 2 or more): gender (0 female, 1 male), age in years; -1 unknown; from five columns on those of
        ``labels.BIN_LABELS``. ``gender_probability`` is
        (n,) probability of male, or (n, 2) of female and male. ``age`` is (n,) or (n, 1) expected age in years.
        A head that is None is not scored. Raises ValueError where the lengths differ.
        """
        truth = np.asarray(labels, np.float64)
        if truth.ndim != 2 or truth.shape[1] < 2:
            raise ValueError(f"labels of shape {truth.shape} are not (n, 2): gender, age")
        self._faces += len(truth)
        if gender_probability is not None:
            self._add_gender(_male_margin(gender_probability, len(truth)), truth[:, 0])
        if age is not None:
            predicted = np.asarray(age, np.float64).reshape(-1)
            if len(predicted) != len(truth):
                raise ValueError(f"{len(predicted)} ages for {len(truth)} labels")
            self._add_age(predicted, self._add_bins(predicted, truth))

    def merge(self, other: ScoreKeeper) -> None:
        """Add everything that ``other`` has collected (another worker's share, say)."""
        self._faces += other._faces
        self._gender_seen += other._gender_seen
        self._gender_right += other._gender_right
        self._years_off += other._years_off
        self._error_sums += other._error_sums
        self._within_older += other._within_older
        self._bins.merge(other._bins)

    def sums(self) -> npt.NDArray[np.float64]:
        """Return everything collected, but for bins, as one array, which adds up over keepers; see ``of``."""
        counts = [self._faces, *self._gender_seen, *self._gender_right, *self._years_off, self._within_older]
        return np.array([*counts, *self._error_sums], np.float64)

    @classmethod
    def of(cls, sums: npt.NDArray[np.float64]) -> ScoreKeeper:
        """Return a keeper that has collected what ``sums`` says. Raises ValueError for an array of another length."""
        keeper = cls()
        if sums.shape != keeper.sums().shape:
            raise ValueError(f"sums of shape {sums.shape} are not those of a ScoreKeeper")
        counts, keeper._error_sums = np.rint(sums[:-3]).astype(np.int64), sums[-3:].copy()
        keeper._faces, keeper._within_older = int(counts[0]), int(counts[-1])
        keeper._gender_seen, keeper._gender_right, keeper._years_off = np.split(counts[1:-1], [2, 4])
        return keeper

    def compute(self) -> Scores:
        """Return the figures over everything added since the last reset."""
        faces_with_age = int(self._years_off.sum())
        absolute, squared, signed = (_share(total, faces_with_age) for total in self._error_sums)
        seen = self._gender_seen > 0
        recalls = self._gender_right[seen] / self._gender_seen[seen]
        cumulated = np.cumsum(self._years_off)
        n_bin, bin_acc, bin_1off = self._bins.compute()
        return Scores(
            n=self._faces,
            n_gender=int(self._gender_seen.sum()),
            n_age=faces_with_age,
            acc=_share(self._gender_right.sum(), int(self._gender_seen.sum())),
            balanced_acc=float(recalls.mean()) if len(recalls) else float("nan"),
            mae=absolute,
            rmse=float(np.sqrt(squared)),
            bias=signed,
            within3_rounded=_share(self._within_older, faces_with_age),
            cum={years: _share(cumulated[years], faces_with_age) for years in range(LARGEST_CUM + 1)},
            n_bin=n_bin,
            bin_acc=bin_acc,
            bin_1off=bin_1off,
        )

    def _add_gender(self, margin: npt.NDArray[np.float64], truth: npt.NDArray[np.float64]) -> None:
        known = truth >= 0
        male = truth[known].astype(np.int64) == MALE
        margin = margin[known]
        right = np.where(male, margin > 0, margin <= 0)  # a nan margin is neither
        self._gender_seen += np.bincount(male, minlength=2)
        self._gender_right += np.bincount(male[right], minlength=2)

    def _add_bins(self, predicted: npt.NDArray[np.float64], truth: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Count the faces that are known by bins, and return the ages of the others, -1 in the place of those."""
        if truth.shape[1] < BIN_WIDTH:
            return truth[:, 1]
        binned = truth[:, 3] > truth[:, 2]
        if binned.any():
            self._bins.update(truth[binned, 2:4], predicted[binned])
        return np.where(binned, UNKNOWN, truth[:, 1])

    def _add_age(self, predicted: npt.NDArray[np.float64], truth: npt.NDArray[np.float64]) -> None:
        known = truth >= 0
        error = predicted[known] - truth[known]
        absolute = np.abs(error)
        # nan compares false, so it lands in the last bin.
        bins = np.where(absolute <= LARGEST_CUM, np.ceil(absolute), LARGEST_CUM + 1).astype(np.int64)
        self._years_off += np.bincount(bins, minlength=LARGEST_CUM + 2)
        self._error_sums += (absolute.sum(), np.square(error).sum(), error.sum())
        rounded = np.abs(np.rint(predicted[known]) - truth[known])
        self._within_older += int(np.count_nonzero(rounded <= OLDER_CONVENTION_YEARS))


def _male_margin(probability: npt.ArrayLike, faces: int) -> npt.NDArray[np.float64]:
    """Return a number per face that is positive where male is the more likely gender."""
    values = np.asarray(probability, np.float64)
    if len(values) != faces:
        raise ValueError(f"{len(values)} gender probabilities for {faces} labels")
    if values.ndim == 2 and values.shape[1] == 2:
        return values[:, MALE] - values[:, FEMALE]
    if values.size != faces:
        raise ValueError(f"gender probabilities of shape {values.shape} are neither (n,) nor (n, 2)")
    return values.reshape(-1) - 0.5


def _share(total: Any, count: int) -> float:
    return float(total) / count if count else float("nan")
