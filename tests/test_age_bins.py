"""Bins of ages: what people write, and which bin an age belongs to."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agegender.age_bins import ADIENCE_8, ADIENCE_12, Bins, centres, checked_bins, limits, parse_bins
from agegender.errors import UsageError

pytestmark = pytest.mark.quick


@st.composite
def rows_of_bins(draw: st.DrawFn) -> Bins:
    """Rising bins within 0..120, with gaps or without."""
    years = sorted(draw(st.sets(st.integers(0, 120), min_size=4, max_size=24)))
    ends = years[: len(years) // 2 * 2]
    return tuple(zip(ends[::2], ends[1::2], strict=True))


def test_the_schemes_of_adience() -> None:
    assert parse_bins("adience8") == ADIENCE_8
    assert parse_bins(" Adience12 ") == ADIENCE_12
    assert (len(ADIENCE_8), len(ADIENCE_12)) == (8, 12)
    assert set(ADIENCE_12) - set(ADIENCE_8) == {(21, 24), (33, 37), (44, 47), (54, 59)}
    assert ADIENCE_8[0] == (0, 2)
    assert ADIENCE_8[-1] == (60, 100)


@given(rows_of_bins())
def test_what_is_written_is_read(bins: Bins) -> None:
    assert parse_bins(",".join(f"{first}-{last}" for first, last in bins)) == bins
    assert checked_bins([list(ages) for ages in bins]) == bins


def test_a_year_alone_is_a_bin() -> None:
    assert parse_bins("0, 1 , 2 - 5") == ((0, 0), (1, 1), (2, 5))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adience9", "age_bins 'adience9' is neither adience8 nor adience12 nor bins such as 0-2,4-6,8-12"),
        ("", "age_bins '' is neither"),
        ("0-2,,4-6", "age_bins '0-2,,4-6' is neither"),
        ("0-2,4-six", "age_bins '0-2,4-six' is neither"),
        ("-1-2,4-6", "age_bins '-1-2,4-6' is neither"),
        ("0-100", "age_bins has 1 bin; at least 2 are needed"),
        ("0-2,6-4", "age_bins: 6-4 is no bin of years within 0..120"),
        ("0-2,60-130", "age_bins: 60-130 is no bin of years within 0..120"),
        ("0-2,2-4", "age_bins: 2-4 does not lie above 0-2"),
        ("10-20,0-9", "age_bins: 0-9 does not lie above 10-20"),
    ],
)
def test_what_is_no_row_of_bins_is_named(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        parse_bins(text)


@given(st.text(alphabet="0123456789-, ae", max_size=20))
def test_any_text_is_bins_or_an_error_of_usage(text: str) -> None:
    try:
        bins = parse_bins(text)
    except UsageError:
        return
    assert len(bins) >= 2
    assert all(first <= last for first, last in bins)
    assert all(younger[1] < older[0] for younger, older in itertools.pairwise(bins))


def test_middles() -> None:
    assert centres(ADIENCE_8) == (1, 5, 10, 17.5, 28.5, 40.5, 50.5, 80)


@given(rows_of_bins(), st.integers(0, 120))
def test_the_limits_give_each_age_its_nearest_bin(bins: Bins, age: int) -> None:
    """Against the distance to every bin; of two that are as near the younger comes first."""
    distances = [max(first - age, age - last, 0) for first, last in bins]
    assert sum(age > limit for limit in limits(bins)) == distances.index(min(distances))
