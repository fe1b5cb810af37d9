"""Debian's Chromium, driven by Playwright, in front of the page."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import cv2
import numpy as np
import pytest

from tests.service.running import Photo, Running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, FileChooser, Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
SECONDS = 15


@contextmanager
def chromium(video: Path) -> Iterator[Browser]:
    """Start the browser; its camera shows ``video``, a .y4m file. Skips the test where there is no browser."""
    reason = "the page is tested with playwright (requirements-dev.txt)"
    sync_playwright = pytest.importorskip("playwright.sync_api", reason=reason).sync_playwright
    found = [path for path in map(shutil.which, NAMES) if path]
    if not found:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is on the PATH")
    camera = ("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=found[0],
            args=["--no-sandbox", "--disable-dev-shm-usage", *camera, f"--use-file-for-fake-video-capture={video}"],
        )
        try:
            yield browser
        finally:
            browser.close()


def write_y4m(path: Path, image: Photo, *, frames: int = 10) -> None:
    """Write a still ``image`` (H, W, 3) uint8 RGB, sides even, as an uncompressed 4:2:0 video."""
    height, width = image.shape[:2]
    planes = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420).tobytes()
    head = f"YUV4MPEG2 W{width} H{height} F10:1 Ip A1:1 C420jpeg\n".encode()
    path.write_bytes(head + (b"FRAME\n" + planes) * frames)


class Tab:
    """One tab on the page of ``served``, with what the browser said and whom it asked."""

    def __init__(self, context: BrowserContext, served: Running, *, query: str = "") -> None:
        self.served = served
        self.said: list[str] = []
        self.asked: list[str] = []
        self.page: Page = context.new_page()
        self.page.set_default_timeout(1000 * SECONDS)
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.said.append(f"uncaught: {error}"))
        self.page.on("request", lambda request: self.asked.append(request.url))
        # From the start: where nobody listens yet, the browser opens a chooser of its own.
        self.choosers: list[FileChooser] = []
        self.page.on("filechooser", lambda chooser: self.choosers.append(chooser))
        self.page.goto(f"{served.address}/{query}")
        self.page.wait_for_function("() => document.getElementById('model').textContent || !token.hidden")

    def upload(self, *files: tuple[str, bytes]) -> None:
        """Choose files by name and content."""
        payloads: list[Any] = [
            {"name": name, "mimeType": "application/octet-stream", "buffer": data} for name, data in files
        ]
        self.page.set_input_files("#file", payloads)

    def wait(self, *states: str) -> None:
        """Wait until the cards have these states, from the top."""
        self.page.wait_for_function(
            "states => JSON.stringify([...document.querySelectorAll('.card')].map(c => c.dataset.state)) === states",
            arg=str(list(states)).replace("'", '"').replace(", ", ","),
        )

    def rows(self, card: int = 0) -> list[list[str]]:
        """Return the cells of the table of a card."""
        rows = self.page.locator(".card").nth(card).locator("tbody tr")
        return [row.locator("th, td").all_inner_texts() for row in rows.all()]

    def text(self, selector: str) -> str:
        """Return what is shown there."""
        return self.page.locator(selector).first.inner_text()

    def drop(self, event: str, *files: tuple[str, bytes], place: str = "#drop") -> None:
        """Let the user paste or drop files."""
        self.page.evaluate(
            """([kind, place, files]) => {
                const transfer = new DataTransfer();
                for (const [name, bytes] of files)
                    transfer.items.add(new File([Uint8Array.from(atob(bytes), c => c.charCodeAt(0))], name,
                        {type: 'image/jpeg'}));
                const target = document.querySelector(place);
                const all = {bubbles: true, cancelable: true};
                if (kind === 'paste')
                    return target.dispatchEvent(new ClipboardEvent('paste', {...all, clipboardData: transfer}));
                for (const each of ['dragenter', 'dragover', 'drop'])
                    target.dispatchEvent(new DragEvent(each, {...all, dataTransfer: transfer}));
            }""",
            [event, place, [[name, base64.b64encode(data).decode()] for name, data in files]],
        )

    def pixels(self, selector: str, number: int = 0) -> Photo:
        """Return a canvas as (H, W, 4) uint8 RGBA."""
        address = self.page.locator(selector).nth(number).evaluate("canvas => canvas.toDataURL('image/png')")
        data = np.frombuffer(base64.b64decode(address.partition(",")[2]), np.uint8)
        return np.asarray(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), cv2.COLOR_BGRA2RGBA), np.uint8)

    def check_quiet(self, *allowed: str) -> None:
        """Assert that the browser had nothing to say but ``allowed``, and that nobody else was asked."""
        left = [line for line in self.said if not any(part in line for part in allowed)]
        assert left == []
        hosts = {urlsplit(url).netloc for url in self.asked if not url.startswith(("blob:", "data:"))}
        assert hosts == {f"{self.served.host}:{self.served.port}"}


def cells(faces: list[dict[str, Any]], *, male: str = "male", female: str = "female") -> list[list[str]]:
    """Return what the table has to say of the API's ``faces``."""

    def whole(value: float) -> str:
        # Half goes up, as in JavaScript.
        return str(int(np.floor(value + 0.5)))

    rows = []
    for number, face in enumerate(faces, 1):
        low, high = face["age_interval"]
        gender = {"male": male, "female": female}[face["gender"]]
        rows.append(
            [
                str(number),
                f"{gender} {whole(100 * face['gender_probability'])}%",
                whole(face["age"]),
                f"{whole(low)}–{whole(high)}",
                f"{whole(100 * face['score'])}%",
            ]
        )
    return rows


def api_faces(served: Running, data: bytes) -> list[dict[str, Any]]:
    answer = served.post(content=data, params={"distribution": "1"}).json()
    faces: list[dict[str, Any]] = answer["images"][0]["faces"]
    return faces


Open = Callable[..., Tab]


@pytest.fixture(scope="module")
def astronaut(people: Photo) -> Photo:
    """One face."""
    left = people[:, : people.shape[1] // 2 - 2]
    return np.asarray(cv2.resize(left, (480, 520)), np.uint8)


@pytest.fixture(scope="module")
def browser(astronaut: Photo, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    video = tmp_path_factory.mktemp("camera") / "astronaut.y4m"
    scene = np.full((520, 720, 3), 90, np.uint8)
    # Far to one side, so that a mirrored box is somewhere else.
    scene[:, :480] = astronaut
    write_y4m(video, scene)
    with chromium(video) as found:
        yield found


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    made = browser.new_context(locale="en-US")
    yield made
    made.close()


@pytest.fixture
def open_tab(context: BrowserContext, served: Running) -> Open:
    return lambda **how: Tab(how.pop("context", context), how.pop("served", served), **how)
