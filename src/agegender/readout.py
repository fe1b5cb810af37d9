"""From a net's named outputs to what is known of a face: gender, age, its distribution, the embedding.

``prefix.json`` describes the outputs of a net that isn't ours (``readout``), completely: nothing is guessed when a face
is read. ``agegender.readout_finder`` writes such a description.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt

from agegender.age_bins import Bins, centres
from agegender.age_bins import checked_bins as checked_ranges
from agegender.doubt import Doubt
from agegender.errors import CheckpointError, UsageError
from agegender.labels import AGE_CLASSES, MAX_AGE, OLDEST_PLAUSIBLE_AGE

Floats = npt.NDArray[np.float32]
Outputs = Mapping[str, npt.NDArray[Any]]

LAYOUTS = ("dex", "ssr", "ordinal")
FORMS = ("probabilities", "logits", "number")
FEMALE_FIRST, MALE_FIRST = "female,male", "male,female"
LABEL_ORDERS = (FEMALE_FIRST, MALE_FIRST)
WHOLE_YEARS = tuple(float(age) for age in range(AGE_CLASSES))
# The layouts of our own heads.
_OURS = {"dex": "dex", "ssr": "ssr", "reg": "ssr", "bins": "dex"}


@dataclass(frozen=True, eq=False)
class Reading:
    """What a net tells of n faces, float32; None where it doesn't.

    ``gender`` (n, 2) probabilities female, male; ``age`` (n,) years; ``distribution`` (n, 101) over whole years;
    ``interval`` (n, 2) the years that hold the true age with probability 0.8, added by ``deploy.net``; ``embedding``
    (n, k). Of Monte Carlo dropout all this is the mean of the passes, ``doubt`` says how far these are apart, and
    ``plain`` is what the net says with nothing dropped.
    """

    gender: Floats | None = None
    age: Floats | None = None
    distribution: Floats | None = None
    interval: Floats | None = None
    embedding: Floats | None = None
    doubt: Doubt | None = None
    plain: Reading | None = None


@dataclass(frozen=True)
class Part:
    """Where something stands: ``outputs`` side by side, of which ``columns`` (first, end) count (None: all).

    ``form`` says what the values are: probabilities, logits (softmax is still to come; of a single column: sigmoid) or
    a number, which is multiplied by ``scale``.
    """

    outputs: tuple[str, ...]
    form: str
    columns: tuple[int, int] | None = None
    scale: float = 1.0

    def take(self, outputs: Outputs) -> npt.NDArray[Any]:
        """Return (n, width) values. Raises CheckpointError for an output that is missing or too narrow."""
        arrays = [flat(outputs, name) for name in self.outputs]
        values = arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=1)
        if self.columns is None:
            return values
        first, end = self.columns
        if end > values.shape[1]:
            raise CheckpointError(
                f"output {self.outputs[0]} has {values.shape[1]} columns, the readout wants {first} to {end - 1}"
            )
        return values[:, first:end]

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able values without what is the default."""
        value: dict[str, Any] = {"outputs": list(self.outputs), "form": self.form}
        if self.columns is not None:
            value["columns"] = list(self.columns)
        if self.scale != 1:
            value["scale"] = self.scale
        return value


@dataclass(frozen=True)
class Readout:
    """How to read the outputs of a net.

    ``dex``: ``distribution`` is over ``age_bins`` (years); the age is its expectation, or ``age`` tells it. Where a
    column stands for several years, ``ranges`` are the first and last of each, ``age_bins`` their middles. ``ssr``:
    ``age`` is a number of years. ``ordinal``: ``age`` holds a pair (no, yes) for each age bin but the last, "older
    than this?"; the age is how many say yes. ``gender`` has two columns in ``label_order``, or one number 0..1 for the
    second of these labels.
    """

    layout: str
    gender: Part | None = None
    age: Part | None = None
    distribution: Part | None = None
    embedding: str | None = None
    label_order: str = FEMALE_FIRST
    age_bins: tuple[float, ...] = field(default=WHOLE_YEARS, repr=False)
    ranges: Bins = field(default=(), repr=False)

    @classmethod
    def of_model(
        cls, readout: Mapping[str, Any], *, head: str, task: str, age_bins: Sequence[Any] | None = None
    ) -> Readout:
        """Return the readout of ``prefix.json``: what ``readout`` says, where it is empty that of our own nets.

        ``head`` (dex, ssr, reg, bins), ``task`` (both, age, gender) and, for head bins, ``age_bins`` (first and last
        year of each) describe ours. Raises UsageError, which names the field.
        """
        if readout:
            return cls.from_json(readout)
        if head not in _OURS:
            raise UsageError(f"head is {head!r} ({', '.join(_OURS)}), and no readout says what the outputs mean")
        if task not in ("both", "age", "gender"):
            raise UsageError(f"task is {task!r} (both, age, gender)")
        ranges: Bins = ()
        if head == "bins":
            if not _are_ranges(age_bins):
                raise UsageError(f"age_bins is {age_bins!r}, and head 'bins' has first and last years of bins there")
            ranges = checked_ranges(age_bins)
        return cls(
            _OURS[head],
            gender=None if task == "age" else Part(("gender_softmax_output",), "probabilities"),
            age=None if task == "gender" else Part(("age_output",), "number"),
            distribution=(
                None if task == "gender" or head == "reg" else Part(("age_softmax_output",), "probabilities")
            ),
            embedding="fc1_output",
            age_bins=centres(ranges) or WHOLE_YEARS,
            ranges=ranges,
        )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Readout:
        """Return what ``to_json`` gave. Raises UsageError, which names the field that is wrong."""
        fields = [name for name in cls.__dataclass_fields__ if name != "ranges"]
        unknown = sorted(set(value) - {*fields})
        if unknown:
            raise UsageError(f"readout has an unknown field {unknown[0]!r} ({', '.join(fields)})")
        layout = value.get("layout")
        if layout not in LAYOUTS:
            raise UsageError(f"readout.layout is {layout!r} ({', '.join(LAYOUTS)})")
        order = value.get("label_order", FEMALE_FIRST)
        if order not in LABEL_ORDERS:
            raise UsageError(f"readout.label_order is {order!r} ({' or '.join(LABEL_ORDERS)})")
        embedding = value.get("embedding")
        if embedding is not None and not isinstance(embedding, str):
            raise UsageError(f"readout.embedding is {embedding!r}, not the name of an output")
        parts = {name: _part(value.get(name), f"readout.{name}") for name in ("gender", "age", "distribution")}
        years = value.get("age_bins")
        ranges = checked_ranges(years) if _are_ranges(years) else ()
        bins = centres(ranges) or checked_bins(years)
        readout = cls(layout, **parts, embedding=embedding, label_order=order, age_bins=bins, ranges=ranges)
        readout._check()
        return readout

    def to_json(self) -> dict[str, Any]:
        """Return JSON-able values, complete for ``from_json``; ``age_bins`` only where they aren't 0..100."""
        parts = {"gender": self.gender, "age": self.age, "distribution": self.distribution}
        value: dict[str, Any] = {
            "layout": self.layout,
            **{name: None if part is None else part.to_json() for name, part in parts.items()},
            "embedding": self.embedding,
            "label_order": self.label_order,
        }
        if self.ranges:
            value["age_bins"] = [list(ages) for ages in self.ranges]
        elif self.age_bins != WHOLE_YEARS:
            value["age_bins"] = [int(age) if age.is_integer() else age for age in self.age_bins]
        return value

    @property
    def tells_gender(self) -> bool:
        """Whether a reading has a gender."""
        return self.gender is not None

    @property
    def tells_age(self) -> bool:
        """Whether a reading has an age."""
        return self.age is not None or self.distribution is not None

    @property
    def task(self) -> str:
        """What the net tells: both, age or gender."""
        return "both" if self.tells_age and self.tells_gender else "age" if self.tells_age else "gender"

    def read(self, outputs: Outputs) -> Reading:
        """Return what the outputs of n faces say; each (n, ...), by name.

        An embedding, and a distribution beside an age, may be absent. Raises CheckpointError for an output that is
        missing or has another width than the readout says.
        """
        gender = None if self.gender is None else self._genders(self.gender, outputs)
        age = mass = None
        if self.layout == "ordinal" and self.age is not None:
            age, mass = self._ordinal(self.age, outputs)
        else:
            if self.distribution is not None and (self.age is None or self.distribution.outputs[0] in outputs):
                mass = _probabilities(self._columns(self.distribution, outputs, len(self.age_bins)), self.distribution)
            if self.age is not None:
                # A straight line goes on below 0, where nobody is.
                age = np.maximum(self._columns(self.age, outputs, 1)[:, 0] * self.age.scale, 0)
            elif mass is not None:
                age = mass @ np.array(self.age_bins)
        embedding = None
        if self.embedding is not None and self.embedding in outputs:
            embedding = flat(outputs, self.embedding)
        return Reading(
            gender=gender,
            age=None if age is None else np.asarray(age, np.float32),
            distribution=None if mass is None else self._by_year(mass),
            embedding=None if embedding is None else np.asarray(embedding, np.float32),
        )

    def _genders(self, part: Part, outputs: Outputs) -> Floats:
        values = part.take(outputs)
        if values.shape[1] == 1:
            second = _sigmoid(values) if part.form == "logits" else np.clip(values * part.scale, 0, 1)
            pairs = np.concatenate([1 - second, second], axis=1)
        else:
            pairs = _probabilities(self._columns(part, outputs, 2), part)
        return np.ascontiguousarray(pairs if self.label_order == FEMALE_FIRST else pairs[:, ::-1], np.float32)

    def _ordinal(self, part: Part, outputs: Outputs) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """Return (n,) ages, and (n, bins) the distribution."""
        values = self._columns(part, outputs, 2 * (len(self.age_bins) - 1)).reshape(-1, len(self.age_bins) - 1, 2)
        no, yes = values[..., 0].astype(np.float64), values[..., 1].astype(np.float64)
        age = np.array(self.age_bins)[(yes > no).sum(axis=1)]
        older = _sigmoid(yes - no) if part.form == "logits" else yes / np.maximum(yes + no, np.finfo(np.float64).tiny)
        # The questions are answered apart, so "older than 31" may get more than "older than 30". Sorting mends that and
        # keeps their sum, the expected age (rearrangement: Chernozhukov et al., Econometrica 2010).
        older = -np.sort(-older, axis=1)
        edge = np.ones((len(older), 1))
        return age, -np.diff(np.concatenate([edge, older, 0 * edge], axis=1), axis=1)

    def _columns(self, part: Part, outputs: Outputs, width: int) -> npt.NDArray[Any]:
        values = part.take(outputs)
        if values.shape[1] != width:
            name = _shown(part.outputs)
            raise CheckpointError(
                f"output {name} has {values.shape[1]} columns, the readout ({self.layout}) wants {width}"
            )
        return values

    def _by_year(self, mass: npt.NDArray[Any]) -> Floats:
        """Return (n, 101): a bin between two whole years is shared by both, so that the mean stays; over 100 is 100.

        What a bin of several years has is spread evenly over them.
        """
        if self.age_bins == WHOLE_YEARS:
            return np.asarray(mass, np.float32)
        if self.ranges:
            spread = np.zeros((len(self.ranges), AGE_CLASSES))
            for row, (first, last) in zip(spread, self.ranges):
                np.add.at(row, np.minimum(np.arange(first, last + 1), MAX_AGE), 1 / (last - first + 1))
            return np.asarray(mass @ spread, np.float32)
        years = np.clip(self.age_bins, 0, MAX_AGE)
        below = np.floor(years).astype(int)
        share = np.zeros((len(years), AGE_CLASSES))
        share[np.arange(len(years)), below] = 1 - (years - below)
        share[np.arange(len(years)), np.minimum(below + 1, MAX_AGE)] += years - below
        return np.asarray(mass @ share, np.float32)

    def _check(self) -> None:
        """Raise UsageError where the parts don't make a whole."""
        if not self.tells_age and not self.tells_gender:
            raise UsageError("readout says neither where the age nor where the gender is (age, distribution, gender)")
        if self.layout == "ordinal":
            if self.distribution is not None:
                raise UsageError("readout.distribution is given, but with layout 'ordinal' it follows from age")
            if self.age is not None and self.age.form == "number":
                raise UsageError("readout.age.form is 'number', but layout 'ordinal' has probabilities or logits")
        elif self.age is not None and self.age.form != "number":
            raise UsageError(f"readout.age.form is {self.age.form!r}, but layout {self.layout!r} has a number there")
        if self.distribution is not None and self.distribution.form == "number":
            raise UsageError("readout.distribution.form is 'number' (probabilities, logits)")


def checked_bins(value: Any) -> tuple[float, ...]:
    """Return the ages in years that the columns stand for; None means 0..100.

    Raises UsageError unless they are at least two numbers within 0..120 that rise.
    """
    if value is None:
        return WHOLE_YEARS
    if not isinstance(value, list | tuple) or not all(_is_number(age) for age in value):
        raise UsageError(f"readout.age_bins is {value!r}, not a list of ages in years")
    bins = tuple(float(age) for age in value)
    rises = all(low < high for low, high in itertools.pairwise(bins))
    if len(bins) < 2 or not rises or not 0 <= bins[0] <= bins[-1] <= OLDEST_PLAUSIBLE_AGE:
        raise UsageError(
            f"readout.age_bins has {len(bins)} ages; at least 2 that rise within 0..{OLDEST_PLAUSIBLE_AGE} are needed"
        )
    return bins


def _are_ranges(value: Any) -> TypeGuard[Sequence[Sequence[int]]]:
    """Whether ``value`` is a list of pairs of whole numbers."""
    pairs = isinstance(value, list | tuple) and all(isinstance(pair, list | tuple) and len(pair) == 2 for pair in value)
    return pairs and len(value) > 0 and all(type(year) is int for pair in value for year in pair)


def softmax(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """Return softmax over the last axis."""
    shifted = np.exp(values.astype(np.float64) - values.max(axis=-1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=-1, keepdims=True))


def _probabilities(values: npt.NDArray[Any], part: Part) -> npt.NDArray[Any]:
    return softmax(values) if part.form == "logits" else values


def _sigmoid(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    # By tanh, which can't overflow.
    return np.asarray(0.5 * (1 + np.tanh(0.5 * values.astype(np.float64))))


def flat(outputs: Outputs, name: str) -> npt.NDArray[Any]:
    """Return the output ``name`` as (n, width); one of (n, 2, k), a softmax over axis 1, as k pairs.

    Raises CheckpointError where it isn't there.
    """
    if name not in outputs:
        raise CheckpointError(f"the net has no output {name!r} (its outputs: {_shown(list(outputs)) or 'none'})")
    array = np.asarray(outputs[name])
    if array.ndim == 3 and array.shape[1] == 2 and array.shape[2] > 2:
        array = array.transpose(0, 2, 1)
    return array.reshape(len(array), math.prod(array.shape[1:]))


def _part(value: Any, where: str) -> Part | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise UsageError(f"{where} is {value!r}, not an object with outputs and form")
    unknown = sorted(set(value) - {*Part.__dataclass_fields__})
    if unknown:
        raise UsageError(f"{where} has an unknown field {unknown[0]!r} ({', '.join(Part.__dataclass_fields__)})")
    names, form, columns = value.get("outputs"), value.get("form"), value.get("columns")
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        raise UsageError(f"{where}.outputs is {names!r}, not a list of names")
    if form not in FORMS:
        raise UsageError(f"{where}.form is {form!r} ({', '.join(FORMS)})")
    if columns is not None:
        whole = isinstance(columns, list | tuple) and len(columns) == 2 and all(type(end) is int for end in columns)
        if not whole or not 0 <= columns[0] < columns[1]:
            raise UsageError(f"{where}.columns is {columns!r}, not [first, end]")
        columns = (columns[0], columns[1])
    scale = value.get("scale", 1.0)
    if not _is_number(scale) or scale <= 0:
        raise UsageError(f"{where}.scale is {scale!r}, not a number above 0")
    return Part(tuple(names), form, columns, float(scale))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _shown(names: list[str] | tuple[str, ...]) -> str:
    """Return names, of many only the first and the last."""
    return ", ".join(names) if len(names) <= 6 else f"{', '.join(names[:3])}, ... {names[-1]}"
