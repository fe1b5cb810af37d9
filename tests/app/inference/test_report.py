"""What infer.py prints: both languages complete, a bar where somebody watches."""

from __future__ import annotations

import io
import string
import sys
import time
from collections.abc import Iterator

import numpy as np
import pytest

from agegender.app.inference.report import Progress, describe
from agegender.app.inference.texts import TEXTS
from agegender.deploy.face import Face

pytestmark = pytest.mark.quick


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_both_languages_say_the_same() -> None:
    def values(line: str) -> set[str | None]:
        return {name for _, name, _, _ in string.Formatter().parse(line) if name is not None}

    english, chinese = TEXTS["en"], TEXTS["zh"]
    assert {key: values(line) for key, line in english.items()} == {key: values(line) for key, line in chinese.items()}


@pytest.mark.parametrize(
    ("known", "lang", "line"),
    [
        (("male", 0.912, 33.3, (20.4, 41.6)), "en", "gender: male (0.91), age: 33 (20 to 42)"),
        (("male", 0.912, 33.3, (20.4, 41.6)), "zh", "性别：男, 年龄：33"),
        ((None, None, None, None), "en", "gender: unknown, age: unknown"),
        ((None, 0.55, None, (1.0, 99.0)), "en", "gender: unknown, age: unknown"),
        ((None, None, 7.0, None), "zh", "性别：未知, 年龄：7"),
    ],
)
def test_a_face_is_a_line(known: tuple[object, ...], lang: str, line: str) -> None:
    box = np.array([160.2, 31.8, 203.6, 84.4], np.float32)
    face = Face(box, np.zeros((5, 2), np.float32), 0.9, *known, None)  # type: ignore[arg-type]
    start = {"en": "face 1: box (160, 32, 204, 84), ", "zh": "第1张人脸，位置(160, 32, 204, 84), "}[lang]
    assert describe(face, 1, lang) == start + line


def test_the_bar_learns_how_many_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    progress = Progress(lambda: range(9))
    limit = time.monotonic() + 5
    while progress._bar.total is None and time.monotonic() < limit:
        time.sleep(0.005)
    for number in range(9):
        progress.step(skipped=number < 4)
    assert (progress._bar.n, progress._bar.total, progress._bar.initial) == (9, 9, 4)
    progress.close()
    assert "9/9" in screen.getvalue()


def test_counting_stops_with_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    counted = 0

    def endless() -> Iterator[int]:
        nonlocal counted
        while True:
            counted += 1
            time.sleep(0.001)
            yield counted

    progress = Progress(endless)
    progress.close()
    time.sleep(0.05)
    before = counted
    time.sleep(0.05)
    assert counted == before


def test_a_list_has_no_end_to_show(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    progress = Progress(None)
    progress.step()
    assert progress._bar.total is None
    progress.close()
    assert "1photo" in screen.getvalue()


@pytest.mark.parametrize("shown", [True, False])
def test_nobody_watches(monkeypatch: pytest.MonkeyPatch, shown: bool) -> None:
    screen = io.StringIO() if shown else Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    progress = Progress(lambda: range(3), shown=shown)
    progress.step()
    progress.close()
    assert screen.getvalue() == ""
