"""A Ray that doesn't come up in time is one line, not Ray's traceback."""

from __future__ import annotations

import pytest

pytest.importorskip("ray", reason="ray is not installed (requirements-ray.txt)")

import ray

from agegender.errors import AgeGenderError
from agegender.ray_session import ray_session


@pytest.mark.parametrize("kind", [Exception, RuntimeError])
def test_a_start_that_fails(monkeypatch: pytest.MonkeyPatch, kind: type[Exception]) -> None:
    def late(**_: object) -> None:
        raise kind("The current node timed out during startup.\nMore of it.")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", late)
    with (
        pytest.raises(
            AgeGenderError, match=r"^--ray local: Ray did not start: The current node timed out during startup\."
        ) as raised,
        ray_session("local", flag="--ray"),
    ):
        pass
    assert str(raised.value).endswith(
        "(it waits for 30 seconds, which a busy machine may need longer than; try again when it is idle)"
    )
    assert "\n" not in str(raised.value)


def test_other_errors_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(**_: object) -> None:
        raise KeyError("a mistake of ours")

    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", wrong)
    with pytest.raises(KeyError, match="a mistake of ours"), ray_session("local", flag="--ray"):
        pass
