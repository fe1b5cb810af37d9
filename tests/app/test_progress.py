"""Bars one after the other on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import io
from contextlib import closing

import pytest

from agegender.app import progress
from agegender.app.pack import TEXTS
from agegender.app.progress import open_progress

pytestmark = pytest.mark.quick


class Terminal(io.StringIO):
    """A terminal's end that keeps what it was sent."""

    def isatty(self) -> bool:
        return True

    def lines(self) -> list[str]:
        """Return what one would read there: of a line that was written anew, the last."""
        return [line.rpartition("\r")[2].rstrip() for line in self.getvalue().split("\n")]


def test_each_bar_ends_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with closing(open_progress(TEXTS["en"])) as show:
        for done in range(1, 6):
            show("comparing", done, 5)
        for done in range(4):
            show("packing", done, 3)
        print("what comes next", file=terminal)
    assert "\x1b" not in terminal.getvalue()  # no bar under another: the cursor never goes up
    compared, packed, *rest = terminal.lines()
    assert compared.startswith("looking for duplicates: 100%") and "5/5" in compared
    assert packed.startswith("packing: 100%") and "3/3" in packed
    assert rest == ["what comes next", ""]


def test_a_bar_that_was_left_half_way_ends_its_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    with closing(open_progress(TEXTS["zh"])) as show:
        show("comparing", 1, 5)
        show("packing", 1, 3)
    assert "\x1b" not in terminal.getvalue()
    compared, packed, rest = terminal.lines()
    assert compared.startswith("查重:  20%")
    assert packed.startswith("打包:  33%")
    assert rest == ""


def test_without_a_terminal_a_line_comes_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = 1000.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: now)
    with closing(open_progress(TEXTS["en"])) as show:
        for done in range(1, 2401):
            now += 1 / 32
            show("packing", done, 2400)
    assert capsys.readouterr().err.splitlines() == [
        "packing: 960 of 2,400 (40%)",
        "packing: 1,920 of 2,400 (80%)",
    ]
