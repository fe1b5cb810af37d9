"""The page for everybody: in Chinese, on a phone, by keys alone, read aloud."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.service.browsing import Open, Tab, api_faces, cells
from tests.service.running import Running

if TYPE_CHECKING:
    from playwright.sync_api import Browser


def test_chinese(browser: Browser, open_tab: Open, served: Running, photo: bytes) -> None:
    context = browser.new_context(locale="zh-CN")
    try:
        tab = open_tab(context=context)
        tab.upload(("合影.jpg", photo), ("坏.jpg", b"no picture"))
        tab.wait("done", "failed")
        assert tab.page.evaluate("document.documentElement.lang") == "zh-CN"
        assert tab.rows() == cells(api_faces(served, photo), male="男", female="女")
        assert tab.text(".card .about").startswith("2 张人脸")
        assert tab.text(".card:nth-child(2) .problem").startswith("无法读取图片 (the image is in none")
        assert "不保留任何内容" in tab.text(".privacy")
        # All words change, also those of results that are there; nothing is stored.
        tab.page.get_by_role("button", name="English").click()
        assert tab.rows() == cells(api_faces(served, photo))
        left = tab.page.evaluate("document.body.innerText.replace('中文', '')")
        assert re.findall(r"[\u4e00-\u9fff]+", left) == ["合影", "坏"]
        tab.page.reload()
        tab.page.get_by_text("选择照片").wait_for()
        assert tab.page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
        asked = open_tab(context=context, query="?lang=en")
        assert asked.text("#drop-title") == "Drop photos here, or paste one"
    finally:
        context.close()


def test_every_word_is_there_in_both_languages(open_tab: Open) -> None:
    folder = Path(__file__).parents[2] / "src/agegender/service/page"
    pattern = re.compile(r'\b(?:word\(|button\(|data-word=)"(\w+)"')
    keys = {key for path in folder.iterdir() for key in pattern.findall(path.read_text(encoding="utf-8"))}
    assert len(keys) > 50
    tab = open_tab()
    missing = tab.page.evaluate(
        """async keys => {
            const {word, setLanguage} = await import('/page/words.js');
            const missing = [];
            for (const language of ['en', 'zh']) {
                setLanguage(language);
                for (const key of keys) if (!word(key, {})) missing.push(`${language} ${key}`);
            }
            return missing;
        }""",
        sorted(keys),
    )
    assert missing == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone(browser: Browser, open_tab: Open, photo: bytes, scheme: Any) -> None:
    context = browser.new_context(
        locale="en-US", color_scheme=scheme, viewport={"width": 360, "height": 740}, device_scale_factor=3,
        has_touch=True, is_mobile=True,
    )  # fmt: skip
    try:
        tab = open_tab(context=context)
        tab.upload((f"{'a-long-name' * 12}.jpg", photo), ("bad.jpg", b"no picture"))
        tab.wait("done", "failed")
        assert tab.page.evaluate("document.documentElement.scrollWidth") == 360
        # No table or picture is cut off, and fingers find the buttons.
        assert tab.page.evaluate(
            "[...document.querySelectorAll('.card *')].every(e => e.getBoundingClientRect().right <= 360)"
        )
        sizes = tab.page.locator("button:visible:not(.spot), .button").all()
        assert all((button.bounding_box() or {})["height"] >= 34 for button in sizes)
        tab.page.locator(".card .spot").nth(1).tap()
        assert tab.text(".card figcaption .number") == "2"
        # As sharp as the screen.
        assert tab.pixels(".card .boxes").shape[1] > 900
        assert contrasts(tab) == []
    finally:
        context.close()


def contrasts(tab: Tab) -> list[str]:
    """Return the texts whose contrast to what is behind them is below 4.5 (WCAG 2 AA)."""
    found: list[str] = tab.page.evaluate(
        """() => {
            const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
            const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
                .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
                .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
            const ground = element => {
                for (let e = element; e; e = e.parentElement) {
                    const colour = numbers(getComputedStyle(e).backgroundColor);
                    if (colour.length < 4 || colour[3] === 1) return colour;
                }
                return [255, 255, 255];
            };
            const low = [];
            for (const element of document.querySelectorAll('body *')) {
                const own = [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
                if (!own || !element.checkVisibility() || element.closest('svg')) continue;
                const [a, b] = [light(numbers(getComputedStyle(element).color)), light(ground(element))];
                const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
                if (ratio < 4.5) low.push(`${ratio.toFixed(2)} ${element.textContent.trim().slice(0, 40)}`);
            }
            return low;
        }"""
    )
    return found


def test_by_keys_alone(open_tab: Open, photo: bytes) -> None:
    tab = open_tab()
    keys = tab.page.keyboard

    def tab_to(test: str) -> None:
        for _ in range(30):
            if tab.page.evaluate(f"(e => {test})(document.activeElement)"):
                return
            keys.press("Tab")
        raise AssertionError(f"the tab key never gets to {test}")

    tab_to("e.id === 'file'")
    keys.press("Enter")
    end = time.monotonic() + 10
    while not tab.choosers and time.monotonic() < end:
        tab.page.wait_for_timeout(20)
    tab.choosers[0].set_files([{"name": "a.jpg", "mimeType": "image/jpeg", "buffer": photo}])
    tab.wait("done")
    tab_to("e.classList.contains('spot')")
    assert tab.page.evaluate("document.activeElement.ariaLabel").startswith("Face 1, ")
    keys.press("ArrowRight")
    assert tab.text(".card figcaption .number") == "2"
    label = tab.page.evaluate("document.activeElement.ariaLabel")
    assert re.fullmatch(r"Face 2, (fe)?male, age \d+, 80% between \d+ and \d+", label)
    keys.press("ArrowRight")
    keys.press("End")
    assert tab.text(".card figcaption .number") == "2"
    # One stop for all faces of a picture.
    keys.press("Shift+Tab")
    assert not tab.page.evaluate("document.activeElement.classList.contains('spot')")
    tab_to("e.textContent === 'Remove'")
    keys.press("Enter")
    assert tab.page.locator(".card").count() == 0
    assert tab.page.evaluate("document.activeElement.id") == "results"
    tab.check_quiet()


def test_what_a_screen_reader_gets(open_tab: Open, photo: bytes) -> None:
    tab = open_tab()
    tab.upload(("a.jpg", photo))
    tab.wait("done")
    nameless = tab.page.evaluate(
        """() => [...document.querySelectorAll('button, input, a, [role=img], [role=group], table, section')]
            .filter(e => e.checkVisibility())
            .filter(e => !(e.ariaLabel || e.textContent.trim() || e.labels?.length
                || document.getElementById(e.getAttribute('aria-labelledby'))))
            .map(e => e.outerHTML)"""
    )
    assert nameless == []
    levels = tab.page.evaluate(
        "[...document.querySelectorAll('h1, h2, h3')].filter(e => e.checkVisibility()).map(e => e.tagName)"
    )
    assert levels == ["H1", "H2", "H3"]
    assert tab.page.get_by_role("img", name="a.jpg, 2 faces").count() == 1
    assert tab.page.get_by_role("group", name=re.compile("^Faces in a.jpg; arrow keys")).count() == 1
    assert tab.page.get_by_role("table", name="Faces in a.jpg").get_by_role("columnheader").count() == 5
    assert tab.page.get_by_role("article", name="a.jpg").count() == 1
    assert tab.page.get_by_role("status").count() == 1
