"""The page in a real browser: no error, figures to be seen at every width, in light and dark, and on paper."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from agegender.face.photo import encode_jpeg
from agegender.report import Picture, Worst, render, report_numbers
from tests.report.made_faces import random_faces

CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium; skips where there is none."""
    if CHROMIUM is None:
        pytest.skip("no Chromium is installed here (Debian: apt install chromium)")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed here (requirements-dev.txt)")
    with api.sync_playwright() as driver:
        # A container's root has no sandbox.
        sandbox = os.geteuid() != 0 if hasattr(os, "geteuid") else True
        opened = driver.chromium.launch(executable_path=CHROMIUM, chromium_sandbox=sandbox)
        yield opened
        opened.close()


@pytest.fixture(scope="module", params=["en", "zh"])
def page(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page with all that one can have: boxes, scores, groups, worst faces."""
    import numpy as np

    faces = random_faces(300, box=["0 0 50 50", "0 0 300 300"] * 150, score=[0.9, 0.99, 0.95] * 100)
    jpeg = encode_jpeg(np.full((64, 64, 3), 120, np.uint8))
    worst = Worst(kind="worst", pictures=[Picture(caption="5 → 40", alt=f"face {n}", jpeg=jpeg) for n in range(40)])
    about = [("model", "m50, epoch 23; SHA-256: " + "0123456789abcdef" * 4), ("command", "python eval.py " + "x" * 90)]
    text = render(faces, report_numbers(faces, resamples=60), about, lang=request.param, worst=worst)
    path = tmp_path_factory.mktemp("report") / "index.html"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_figures_are_seen_and_nothing_goes_wrong(browser: Any, page: Path, width: int, scheme: str) -> None:
    opened = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    said: list[str] = []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on(
        "request", lambda request: said.append(request.url) if not request.url.startswith(("file:", "data:")) else None
    )
    opened.goto(page.as_uri())
    assert said == []
    # Wide tables scroll by themselves; the page does not.
    assert opened.evaluate("document.documentElement.scrollWidth") <= width
    pictures = opened.evaluate(
        "[...document.images].map(i => [i.complete && i.naturalWidth > 0, i.getBoundingClientRect().left,"
        " i.getBoundingClientRect().right, i.getBoundingClientRect().width, i.classList.contains('chart')])"
    )
    assert len(pictures) == 46
    for loaded, left, right, wide, chart in pictures:
        assert loaded
        assert 0 <= left < right <= width
        assert wide >= (300 if chart else 60)
    assert sum(chart for *_, chart in pictures) == 6
    # Text and background differ enough to be read.
    colours = opened.evaluate("(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))")
    front, back = (sum(int(part) for part in re.findall(r"\d+", colour)[:3]) for colour in colours)
    assert (back > 600 and front < 200) if scheme == "light" else (back < 200 and front > 600)
    names = opened.evaluate(
        "[...document.querySelectorAll('.by tbody th')].map(t => t.getClientRects().length && t.offsetHeight)"
    )
    assert names and max(names) < 80
    opened.close()


def test_it_prints_on_a_few_pages_in_ink_on_white(browser: Any, page: Path) -> None:
    opened = browser.new_page(color_scheme="dark")
    opened.goto(page.as_uri())
    printed = opened.pdf(format="A4", prefer_css_page_size=True)
    assert printed[:5] == b"%PDF-"
    assert 3 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 9
    opened.emulate_media(media="print", color_scheme="dark")
    assert opened.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert opened.evaluate("getComputedStyle(document.querySelector('.chart')).filter") == "none"
    opened.close()
