"""The label convention: gender 0 = female, 1 = male; age in whole years 0..100; -1 = unknown."""

from __future__ import annotations

import math

from agegender.errors import LabelError

UNKNOWN = -1
FEMALE = 0
MALE = 1
MAX_AGE = 100
AGE_CLASSES = MAX_AGE + 1
# People have been older, but not in these data sets: there a larger number is a typing error.
OLDEST_PLAUSIBLE_AGE = 120
# The columns of records' labels. A set that labels bins of ages or deviations has the longer ones in all its records:
# low and high are the first and last year of the bin, std the deviation in years, each -1 where a face has none.
LABELS = "gender,age"
BIN_LABELS = "gender,age,low,high,std"
LABEL_WIDTH, BIN_WIDTH = len(LABELS.split(",")), len(BIN_LABELS.split(","))


def clean_gender(value: str | int | float) -> int:
    """Return 0 (female), 1 (male) or -1 (unknown).

    An empty string and ``nan`` mean unknown; the words female, woman, f, male, man, m are understood in any case.
    Raises LabelError for anything else.
    """
    if isinstance(value, str):
        text = value.strip().lower()
        if text in _GENDER_WORDS:
            return _GENDER_WORDS[text]
    number = _to_number(value, what="gender", accepted="0 = female, 1 = male, -1 = unknown")
    if math.isnan(number):
        return UNKNOWN
    if number not in (UNKNOWN, FEMALE, MALE):
        raise LabelError(f"gender {value!r} is none of 0 = female, 1 = male, -1 = unknown")
    return int(number)


def clean_age(value: str | int | float) -> int:
    """Return an age in 0..100, or -1 for unknown (empty, nan, -1).

    101 to 120 become 100; fractions are cut to whole years lived. Raises LabelError for ages below 0 or over 120.
    """
    if isinstance(value, str) and not value.strip():
        return UNKNOWN
    number = _to_number(value, what="age", accepted="0..120, -1 = unknown")
    if math.isnan(number) or number == UNKNOWN:
        return UNKNOWN
    if number < 0 or number >= OLDEST_PLAUSIBLE_AGE + 1:
        raise LabelError(f"age {value!r} is not within 0..{OLDEST_PLAUSIBLE_AGE} (-1 = unknown)")
    return min(int(number), MAX_AGE)


def clean_bin(age: str | int | float, low: str | int | float, high: str | int | float) -> tuple[int, int, int]:
    """Return age, first and last year of its bin, cleaned as ``clean_age`` does; the ends are -1 where there is no bin.

    An unknown age becomes the middle of its bin. Raises LabelError for half a bin, the wrong way, or an age outside.
    """
    year, first, last = clean_age(age), clean_age(low), clean_age(high)
    if (first == UNKNOWN) != (last == UNKNOWN):
        raise LabelError(f"low {low!r} and high {high!r} make no bin; give both, or none")
    if first > last:
        raise LabelError(f"low {low!r} is above high {high!r}")
    if first == UNKNOWN:
        return year, first, last
    if year == UNKNOWN:
        year = (first + last) // 2
    if not first <= year <= last:
        raise LabelError(f"age {year} is not in the bin {first}..{last}")
    return year, first, last


def clean_std(value: str | float) -> float:
    """Return the deviation of an age in years, -1 for none (empty, -1). Raises LabelError for anything not above 0."""
    try:
        number = float(UNKNOWN if value == "" else value)
    except ValueError:
        raise LabelError(f"std {value!r} is not a number of years (-1 or empty: none)") from None
    if not (number == UNKNOWN or 0 < number < math.inf):
        raise LabelError(f"std {value!r} is not above 0 (-1 or empty: none)")
    return number


_GENDER_WORDS = {
    "": UNKNOWN,
    "unknown": UNKNOWN,
    "female": FEMALE,
    "woman": FEMALE,
    "f": FEMALE,
    "male": MALE,
    "man": MALE,
    "m": MALE,
}


def _to_number(value: str | int | float, *, what: str, accepted: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise LabelError(f"{what} {value!r} is not a number ({accepted})") from None
