"""Finds out how the outputs of an old net are to be read: by their widths, or by what the user says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.errors import UsageError
from agegender.readout import FEMALE_FIRST, FORMS, LAYOUTS, WHOLE_YEARS, Outputs, Part, Readout, checked_bins, flat

# What people called the whole years before ours, 0..100: a hundred of them start at 0 unless told otherwise.
_HUNDRED = tuple(float(age) for age in range(100))
ROLES = ("age", "gender", "embedding")


class ReadoutFinder:
    """Decides which outputs hold what, from a trial run.

    ``outputs`` are those of a few faces, each (n, ...), in the graph's order. What is given wins over what is seen:
    ``named`` (age, gender, embedding: an output's name), ``forms`` (age, gender: probabilities, logits or number),
    ``age_bins`` in years. ``age_scale`` turns a number into years.
    """

    def __init__(
        self,
        outputs: Outputs,
        *,
        named: Mapping[str, str] | None = None,
        forms: Mapping[str, str] | None = None,
        label_order: str = FEMALE_FIRST,
        age_bins: Sequence[float] | None = None,
        age_scale: float = 1.0,
    ) -> None:
        self._outputs = outputs
        self._widths = {name: int(np.prod(np.shape(array)[1:])) for name, array in outputs.items()}
        self._named = _checked(named or {}, ROLES, flag="--outputs")
        self._forms = _checked(forms or {}, ("age", "gender"), flag="--forms")
        for role, form in self._forms.items():
            if form not in FORMS:
                raise UsageError(f"--forms {role}={form}: a form is one of {', '.join(FORMS)}")
        for role, name in self._named.items():
            if name not in self._widths:
                raise UsageError(f"--outputs {role}={name}: the net has no such output; {self._listed()}")
        self._order = label_order
        self._bins = None if age_bins is None else checked_bins(list(age_bins))
        self._scale = age_scale

    def find(self, layout: str) -> Readout:
        """Return the readout of ``layout`` (dex, ssr, ordinal).

        Raises UsageError where several outputs would do, or none; it lists them and says which flag decides.
        """
        if layout not in LAYOUTS:
            raise UsageError(f"unknown layout {layout!r} ({', '.join(LAYOUTS)})")
        readout = {"dex": self._dex, "ssr": self._ssr, "ordinal": self._ordinal}[layout]()
        # The description has to stand what a reader will ask of it.
        return Readout.from_json(readout.to_json())

    def _dex(self) -> Readout:
        joint = self._joint([2 + count for count in self._class_counts()], "dex")
        gender: Part | None
        mass: Part | None
        bins: tuple[float, ...] | None
        if joint is not None:
            count = self._widths[joint] - 2
            bins = self._bins_of(count)
            gender, mass = self._sliced("gender", joint, 0, 2), self._sliced("age", joint, 2, 2 + count)
        else:
            age = self._choose("age", self._class_counts(), "dex")
            bins = self._bins_of(self._widths[age]) if age is not None else None
            mass = self._whole("age", age)
            gender = self._whole("gender", self._choose("gender", [2], "dex", but=age))
        self._need(gender, mass, "dex: an age output with a column per age and a gender output with 2 columns")
        return self._build("dex", gender=gender, distribution=mass, bins=bins)

    def _ssr(self) -> Readout:
        pair = self._choose("gender", [2], "ssr", but=self._named.get("age"))
        numbers = [name for name, width in self._widths.items() if width == 1]
        age = self._named.get("age")
        if age is None:
            left = [name for name in numbers if name != pair]
            # One number alone may be either, unless the gender stands elsewhere.
            if len(left) > 1 or (left and pair is None):
                raise self._ambiguous("ssr", "age", left)
            age = left[0] if left else None
        if pair is None:
            left = [name for name in numbers if name != age]
            if len(left) > 1:
                raise self._ambiguous("ssr", "gender", left)
            pair = left[0] if left else None
        number = None
        if age is not None:
            self._expect("age", age, [1], "ssr")
            number = Part((age,), "number", scale=self._scale)
        gender = self._whole("gender", pair)
        self._need(gender, number, "ssr: outputs with a single column, the age and the gender")
        return self._build("ssr", gender=gender, age=number)

    def _ordinal(self) -> Readout:
        count = 100 if self._bins is None else len(self._bins) - 1
        joint = self._joint([2 + 2 * count], "ordinal")
        gender: Part | None
        pairs: Part | None
        if joint is not None:
            gender, pairs = self._sliced("gender", joint, 0, 2), self._sliced("age", joint, 2, 2 + 2 * count, groups=2)
        else:
            age = self._choose("age", [2 * count], "ordinal")
            twos = [name for name, width in self._widths.items() if width == 2]
            if age is None and len(twos) >= count:
                first = self._named.get("gender", twos[0] if len(twos) == count + 1 else None)
                each = [name for name in twos if name != first]
                if len(each) != count:
                    raise self._ambiguous("ordinal", "gender", twos)
                gender, pairs = self._whole("gender", first), self._whole("age", *each, groups=2)
            else:
                pairs = self._whole("age", age, groups=2)
                gender = self._whole("gender", self._choose("gender", [2], "ordinal", but=age))
        self._need(
            gender, pairs, f"ordinal: {2 + 2 * count} columns, 2 of gender and {count} pairs, in one output or more"
        )
        return self._build("ordinal", gender=gender, age=pairs)

    def _build(
        self,
        layout: str,
        *,
        gender: Part | None,
        age: Part | None = None,
        distribution: Part | None = None,
        bins: tuple[float, ...] | None = None,
    ) -> Readout:
        return Readout(
            layout,
            gender=gender,
            age=age,
            distribution=distribution,
            embedding=self._named.get("embedding"),
            label_order=self._order,
            age_bins=bins or self._bins or WHOLE_YEARS,
        )

    def _class_counts(self) -> list[int]:
        return [101, 100] if self._bins is None else [len(self._bins)]

    def _bins_of(self, width: int) -> tuple[float, ...]:
        if self._bins is not None:
            return self._bins
        return _HUNDRED if width == len(_HUNDRED) else WHOLE_YEARS

    def _joint(self, widths: list[int], layout: str) -> str | None:
        """Return the output that holds gender and age side by side."""
        named = {role: self._named[role] for role in ("age", "gender") if role in self._named}
        if named:
            same = set(named.values())
            name = same.pop() if len(same) == 1 else None
            return name if name is not None and self._widths[name] in widths else None
        found = [name for name, width in self._widths.items() if width in widths]
        if len(found) > 1:
            raise self._ambiguous(layout, "age", found)
        return found[0] if found else None

    def _choose(self, role: str, widths: list[int], layout: str, *, but: str | None = None) -> str | None:
        """Return the output for ``role``: as named, else the one that is as wide as that."""
        if role in self._named:
            allowed = [*widths, 1] if role == "gender" else widths
            self._expect(role, self._named[role], allowed, layout)
            return self._named[role]
        found = [name for name, width in self._widths.items() if width in widths and name != but]
        if len(found) > 1:
            raise self._ambiguous(layout, role, found)
        return found[0] if found else None

    def _whole(self, role: str, *names: str | None, groups: int | None = None) -> Part | None:
        """Return the outputs ``names`` as a part; probabilities sum to 1 within each ``groups`` columns (None: all)."""
        given = [name for name in names if name is not None]
        if not given:
            return None
        values = np.concatenate([flat(self._outputs, name) for name in given], axis=1)
        return Part(tuple(given), self._form(role, values, groups))

    def _sliced(self, role: str, name: str, first: int, end: int, *, groups: int | None = None) -> Part:
        values = flat(self._outputs, name)[:, first:end]
        return Part((name,), self._form(role, values, groups), (first, end))

    def _form(self, role: str, values: npt.NDArray[Any], groups: int | None) -> str:
        """Tell probabilities from logits: they are not negative, and their sums are 1."""
        if role in self._forms:
            return self._forms[role]
        if values.shape[1] == 1:
            return "number"
        sums = values.reshape(len(values), -1, groups or values.shape[1]).sum(axis=2)
        return "probabilities" if values.min() >= -1e-6 and np.allclose(sums, 1, atol=1e-3) else "logits"

    def _expect(self, role: str, name: str, widths: list[int], layout: str) -> None:
        if self._widths[name] not in widths:
            flag = " (--age_bins says others)" if role == "age" and layout != "ssr" else ""
            raise UsageError(
                f"--outputs {role}={name}: it has {self._widths[name]} columns, layout {layout} wants "
                f"{' or '.join(map(str, widths))}{flag}"
            )

    def _need(self, gender: Part | None, age: Part | None, wanted: str) -> None:
        """Raise UsageError where nothing was found, or a gender alone that nobody asked for."""
        if age is None and (gender is None or ("gender" not in self._named and len(self._widths) > 1)):
            only = "" if gender is None else f" ({', '.join(gender.outputs)} alone would do as gender)"
            raise UsageError(
                f"no output fits layout {wanted}{only}; {self._listed()}. Another --head_layout, --outputs age=NAME"
                f"{' or gender=NAME' if only else ''} or --age_bins decides"
            )

    def _ambiguous(self, layout: str, role: str, found: list[str]) -> UsageError:
        some = ", ".join(found) if len(found) <= 6 else f"{len(found)} outputs"
        what = f"{some} may be the {role}" if len(found) > 1 else f"{some} may be the age or the gender"
        return UsageError(f"layout {layout}: {what}; {self._listed()}. --outputs {role}=NAME decides")

    def _listed(self) -> str:
        return f"outputs and their widths: {listed(self._widths)}"


def listed(widths: Mapping[str, int]) -> str:
    """Return ``name width`` for each output, of many only the first and the last."""
    shown = [f"{name} {width}" for name, width in widths.items()]
    return ", ".join(shown if len(shown) <= 12 else [*shown[:6], "...", *shown[-2:]])


def _checked(value: Mapping[str, str], roles: Sequence[str], *, flag: str) -> dict[str, str]:
    for role in value:
        if role not in roles:
            raise UsageError(f"{flag} {role}=...: what is said there is {', '.join(roles)}")
    return dict(value)
