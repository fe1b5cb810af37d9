"""A set of names against Python's own."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agegender.app import seen_names
from agegender.app.seen_names import SeenNames

pytestmark = pytest.mark.quick


@settings(max_examples=100, deadline=None)
@given(names=st.lists(st.sampled_from([f"n{number}" for number in range(30)]) | st.text("ab女", max_size=4)))
def test_it_is_a_set(names: list[str]) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(seen_names, "_PENDING", 3)
        seen, expected = SeenNames(), set[str]()
        for name in names:
            assert (name in seen) == (name in expected)
            assert seen.add(name) == (name not in expected)
            expected.add(name)
            assert len(seen) == len(expected)


def test_eight_bytes_a_name() -> None:
    seen = SeenNames()
    assert all(seen.add(f"photos/{number:06}.jpg") for number in range(200_000))
    assert not any(seen.add(f"photos/{number:06}.jpg") for number in range(0, 200_000, 97))
    assert seen._sorted.nbytes + 8 * len(seen._pending) == 8 * 200_000
    assert "photos/200000.jpg" not in seen
    assert "photos/\udcff.jpg" not in seen
