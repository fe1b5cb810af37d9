"""The page in a real browser, in front of the real service."""

from __future__ import annotations

import io
import json
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import pytest
from PIL import Image

from agegender import Predictor
from agegender.deploy.draw import COLOURS
from agegender.face.detector import Detector
from agegender.face.photo import read_photo
from tests.service.browsing import Open, api_faces, cells
from tests.service.running import Photo, Running, jpeg, png, running, until

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Route

# What Chromium itself says of an answer that is no 200.
REFUSED = "Failed to load resource"


def test_an_upload_shows_the_faces_of_the_api(open_tab: Open, served: Running, photo: bytes, people: Photo) -> None:
    tab = open_tab()
    tab.upload(("two people.jpg", photo))
    tab.wait("done")
    faces = api_faces(served, photo)
    assert len(faces) == 2
    assert tab.rows() == cells(faces)
    height, width = people.shape[:2]
    assert re.fullmatch(rf"2 faces · {width} × {height} pixels, \d+\.\d\d s", tab.text(".about"))
    assert tab.page.locator("#status").text_content() == "two people.jpg: 2 faces."
    # The box is where the API says, in the colour of the gender; the face itself stays visible.
    boxes = tab.pixels(".card .boxes")
    scale = np.array([boxes.shape[1] / width, boxes.shape[0] / height] * 2)
    for face in faces:
        x1, y1, x2, y2 = np.round(np.array(face["box"]) * scale).astype(int)
        assert tuple(boxes[(y1 + y2) // 2, x1, :3]) == COLOURS[face["gender"]]
        assert tuple(boxes[(y1 + y2) // 2, x2, :3]) == COLOURS[face["gender"]]
        assert tuple(boxes[y2, (x1 + x2) // 2, :3]) == COLOURS[face["gender"]]
        assert boxes[(y1 + y2) // 2, (x1 + x2) // 2, 3] == 0
    tab.check_quiet()


def test_the_ages_of_a_face_follow_pointer_and_row(open_tab: Open, served: Running, photo: bytes) -> None:
    tab = open_tab()
    tab.upload(("a.jpg", photo))
    tab.wait("done")
    faces = api_faces(served, photo)
    assert tab.text("figcaption .number") == "1"
    tab.page.locator(".card .spot").nth(1).hover()
    assert tab.text("figcaption .number") == "2"
    assert f"age {faces[1]['age']:.0f}" in tab.text("figcaption")
    tab.page.locator(".card tbody tr").first.hover()
    assert tab.text("figcaption .number") == "1"
    assert tab.page.locator(".card tbody tr.active").count() == 1


def test_the_distribution_is_drawn(
    open_tab: Open, predictor: Predictor, detectors: list[Detector | None], photo: bytes
) -> None:
    made = [0.0] * 101
    made[40], made[60] = 0.75, 0.25

    def with_ages(route: Route) -> None:
        answer = route.fetch()
        document = answer.json()
        for face in document["images"][0]["faces"]:
            face["age_distribution"] = made
        route.fulfill(response=answer, json=document)

    tab = open_tab()
    tab.page.route("**/v1/analyze*", with_ages)
    tab.upload(("a.jpg", photo))
    tab.wait("done")
    assert "most likely 40" in (tab.page.locator("figure svg").get_attribute("aria-label") or "")
    points = [tuple(map(float, pair.split())) for pair in
              (tab.page.locator("path.edge").get_attribute("d") or "").lstrip("M").split("L")]  # fmt: skip
    assert len(points) == 101
    ground = points[0][1]
    highest, second = ground - points[40][1], ground - points[60][1]
    assert highest > 80
    assert second == pytest.approx(highest / 3, abs=0.1)
    assert points[40][0] - points[0][0] == pytest.approx(0.4 * (points[100][0] - points[0][0]), abs=0.1)


@pytest.mark.parametrize("how", ["paste", "drop"])
def test_paste_and_drop(open_tab: Open, served: Running, photo: bytes, how: str) -> None:
    tab = open_tab()
    tab.drop(how, ("image.png" if how == "paste" else "b.jpg", photo), place="body")
    tab.wait("done")
    assert tab.text(".card h3") == {"paste": "Pasted picture 1", "drop": "b.jpg"}[how]
    assert tab.rows() == cells(api_faces(served, photo))
    assert not tab.page.locator("#veil").is_visible()
    tab.drop(how, place="body")
    assert tab.text("#problem") == "Only files of pictures can be dropped or pasted here."
    tab.check_quiet()


def test_several_photos_and_a_bad_one_do_not_mix(
    open_tab: Open, served: Running, photo: bytes, people: Photo, astronaut: Photo
) -> None:
    tab = open_tab()
    plain = png(np.full((40, 60, 3), 200, np.uint8))
    one = jpeg(astronaut)
    tab.upload(("two.jpg", photo), ("note.txt", b"no picture at all"), ("none.png", plain), ("one.jpg", one))
    tab.wait("done", "failed", "done", "done")
    assert tab.page.locator(".card h3").all_inner_texts() == ["two.jpg", "note.txt", "none.png", "one.jpg"]
    assert tab.text(".card:nth-child(2) .problem") == (
        "the image is in none of the formats JPEG, PNG, WEBP, GIF, BMP, TIFF"
    )
    assert [len(tab.rows(card)) for card in range(4)] == [2, 0, 0, 1]
    assert tab.rows(3) == cells(api_faces(served, one))
    assert tab.text(".card:nth-child(3) .about").startswith("No face found")
    # All of them as one file.
    with tab.page.expect_download() as download:
        tab.page.click("#save-all")
    document = json.loads(Path(download.value.path()).read_text())
    assert [(image["index"], image["name"]) for image in document["images"]] == [
        (0, "two.jpg"), (1, "none.png"), (2, "one.jpg"),
    ]  # fmt: skip
    tab.check_quiet(REFUSED)


def test_the_json_is_the_answer_of_the_api(open_tab: Open, served: Running, photo: bytes) -> None:
    tab = open_tab()
    tab.upload(("group.v2.jpg", photo))
    tab.wait("done")
    with tab.page.expect_download() as download:
        tab.page.get_by_role("button", name="The faces of group.v2.jpg as JSON").click()
    assert download.value.suggested_filename == "group.v2.json"
    saved = json.loads(Path(download.value.path()).read_text())
    answer = served.post(content=photo, params={"distribution": "1"}).json()
    for document in (saved, answer):
        document["images"][0].pop("timing")
    answer["images"][0]["name"] = "group.v2.jpg"
    assert saved == answer
    with tab.page.expect_download() as download:
        tab.page.get_by_role("button", name="group.v2.jpg as a picture with boxes and labels").click()
    assert download.value.suggested_filename == "group.v2.faces.jpg"
    assert Path(download.value.path()).read_bytes() == served.post(
        content=photo, headers={"Accept": "image/jpeg"}
    ).content  # fmt: skip


def test_a_hostile_name_is_only_text(open_tab: Open, photo: bytes) -> None:
    name = "<img src=x onerror=alert(1)>.jpg"
    tab = open_tab()
    tab.upload((name, photo))
    tab.wait("done")
    assert tab.text(".card h3") == name
    assert tab.page.locator(".card img").count() == 0
    tab.check_quiet()


def test_pictures_stand_as_the_service_sees_them(open_tab: Open) -> None:
    """All EXIF orientations, of each format that can hold one: the browser's picture is the service's."""
    corner = np.full((48, 80, 3), 230, np.uint8)
    corner[:20, :30] = (200, 30, 30)
    corner[28:, 50:] = (30, 30, 200)
    files = []
    for kind, orientations in (("JPEG", range(1, 9)), ("PNG", (1, 3, 6)), ("WEBP", (2, 3, 6))):
        for orientation in orientations:
            exif = Image.Exif()
            exif[0x0112] = orientation
            stream = io.BytesIO()
            Image.fromarray(corner).save(stream, kind, exif=exif, quality=95)
            files.append((f"{kind} {orientation}", stream.getvalue()))
    tab = open_tab()
    tab.upload(*files)
    tab.wait(*["done"] * len(files))
    for number, (name, data) in enumerate(files):
        upright = read_photo(data)
        shown = tab.pixels(".card .picture", number)[..., :3]
        assert shown.shape[1] / shown.shape[0] == pytest.approx(upright.shape[1] / upright.shape[0], rel=0.02), name
        small = cv2.resize(shown, (upright.shape[1], upright.shape[0]), interpolation=cv2.INTER_AREA)
        assert np.abs(small.astype(int) - upright).mean() < 6, name
    tab.check_quiet()


def test_what_the_browser_cannot_show_the_service_draws(open_tab: Open, people: Photo) -> None:
    stream = io.BytesIO()
    Image.fromarray(people).save(stream, "TIFF")
    tab = open_tab()
    tab.upload(("scan.tif", stream.getvalue()))
    tab.wait("done")
    shown = tab.pixels(".card .picture")
    assert len(tab.rows()) == 2
    assert not tab.pixels(".card .boxes").any()
    # The service's own boxes are in it: many pixels of their colours.
    near = [np.abs(shown[..., :3].astype(int) - colour).sum(axis=2) < 40 for colour in COLOURS.values()]
    assert sum(each.sum() for each in near) > 500
    tab.check_quiet()


def test_the_camera(open_tab: Open, served: Running) -> None:
    tab = open_tab()
    flying = most = answered = 0

    def begun(request: Any) -> None:
        nonlocal flying, most
        flying += "analyze" in request.url
        most = max(most, flying)

    def ended(request: Any) -> None:
        nonlocal flying, answered
        flying -= "analyze" in request.url
        answered += "analyze" in request.url

    tab.page.on("request", begun)
    tab.page.on("requestfinished", ended)
    start = time.monotonic()
    tab.page.get_by_role("button", name="Use the camera").click()
    rows = tab.page.locator("#camera tbody tr")
    rows.first.wait_for()
    while answered < 4:
        tab.page.wait_for_timeout(50)
    assert answered <= (time.monotonic() - start) / 0.2 + 1
    assert most == 1
    assert rows.count() == 1
    # Mirrored on the screen: the face that the camera has on the left is on the right.
    spot, stage = (tab.page.locator(f"#camera {part}").bounding_box() for part in (".spot", ".stage"))
    assert spot is not None and stage is not None
    middle = (spot["x"] + spot["width"] / 2 - stage["x"]) / stage["width"]
    assert middle > 0.55
    tab.page.get_by_role("button", name="Take this picture").click()
    tab.wait("done")
    assert tab.text(".card h3") == "Camera picture 1"
    assert "× 520 pixels" in tab.text(".about") or "720 × 520" in tab.text(".about")
    tab.page.get_by_role("button", name="Stop the camera").click()
    assert tab.page.locator("#camera").is_hidden()
    assert tab.page.evaluate("document.activeElement.id") == "camera-start"
    tab.page.wait_for_timeout(300)
    count = answered
    tab.page.wait_for_timeout(500)
    assert answered == count
    tab.check_quiet()


def test_a_slow_network_shows_progress_and_can_be_cancelled(
    open_tab: Open, context: BrowserContext, served: Running, photo: bytes
) -> None:
    tab = open_tab()
    wire = context.new_cdp_session(tab.page)
    slow = {"offline": False, "latency": 50, "downloadThroughput": 1e6, "uploadThroughput": 15_000}
    wire.send("Network.enable")
    wire.send("Network.emulateNetworkConditions", slow)
    tab.upload(("slow.jpg", photo))
    tab.page.wait_for_function("() => document.querySelector('progress').value > 5")
    assert re.fullmatch(r"Sending: \d+%", tab.text(".told"))
    tab.page.get_by_role("button", name="Cancel slow.jpg").click()
    tab.wait("cancelled")
    assert tab.text(".card .problem") == "Cancelled"
    until(lambda: served.service.state.in_flight == 0 and served.service.budget.held == 0)
    wire.send("Network.emulateNetworkConditions", {**slow, "latency": 0, "uploadThroughput": -1})
    tab.page.get_by_role("button", name="Try slow.jpg again").click()
    tab.wait("done")
    assert len(tab.rows()) == 2
    tab.check_quiet()


def test_a_busy_service_is_asked_again(open_tab: Open, photo: bytes) -> None:
    tab = open_tab()
    asked: list[float] = []

    def busy_once(route: Route) -> None:
        asked.append(time.monotonic())
        if len(asked) > 1:
            return route.fallback()
        full = {"error": {"cause": "queue_full", "message": "the queue is full"}}
        return route.fulfill(status=429, headers={"Retry-After": "1"}, json=full)

    tab.page.route("**/v1/analyze*", busy_once)
    tab.upload(("a.jpg", photo))
    tab.page.get_by_text("The service is busy; again in 1 s").wait_for()
    tab.wait("done")
    assert len(asked) == 2
    assert asked[1] - asked[0] >= 0.95


def test_an_answer_to_another_photo_is_thrown_away(open_tab: Open, photo: bytes, astronaut: Photo) -> None:
    tab = open_tab()
    tab.page.route("**/v1/analyze*", lambda route: route.continue_(post_data=jpeg(astronaut)))
    tab.upload(("a.jpg", photo))
    tab.wait("failed")
    assert tab.text(".card .problem") == "The answer belongs to another photo; it was thrown away."
    assert tab.rows() == []


def test_problems_of_size_and_reach_are_said_in_one_line(
    open_tab: Open, context: BrowserContext, served: Running, photo: bytes
) -> None:
    tab = open_tab()
    tab.upload(("large.jpg", photo + bytes(2_400_000)), ("empty.jpg", b""))
    tab.wait("failed", "failed")
    assert re.fullmatch(r"The photo has 2\.\d MB; this service takes at most 2 MB\.", tab.text(".card .problem"))
    assert tab.text(".card:nth-child(2) .problem") == "The photo is empty (0 bytes)."
    assert not any("analyze" in url for url in tab.asked)
    tab.page.click("#clear")
    context.set_offline(True)
    tab.upload(("a.jpg", photo))
    tab.wait("failed")
    assert tab.text(".card .problem") == "The service can't be reached."
    context.set_offline(False)
    tab.page.get_by_role("button", name="Try a.jpg again").click()
    tab.wait("done")
    tab.check_quiet(REFUSED)


def test_a_token_is_asked_for(
    open_tab: Open, predictor: Predictor, detectors: list[Detector | None], photo: bytes
) -> None:
    with running(predictor, detectors[:1], tokens=["a-token-for-the-page"]) as guarded:
        tab = open_tab(served=guarded)
        assert tab.page.evaluate("document.activeElement.id") == "token-field"
        tab.upload(("a.jpg", photo))
        tab.wait("failed")
        tab.page.fill("#token-field", "another-one")
        tab.page.keyboard.press("Enter")
        tab.page.get_by_text("The service does not know this token.").wait_for()
        tab.page.fill("#token-field", "a-token-for-the-page")
        tab.page.get_by_role("button", name="Use it").click()
        # What was refused goes again.
        tab.wait("done")
        assert len(tab.rows()) == 2
        assert not tab.page.locator("#token").is_visible()
        assert tab.page.evaluate("[localStorage.length, sessionStorage.length, document.cookie]") == [0, 0, ""]
        tab.check_quiet(REFUSED)


def test_two_tabs_know_nothing_of_each_other(open_tab: Open, served: Running, photo: bytes, astronaut: Photo) -> None:
    one, other = open_tab(), open_tab()
    single = jpeg(astronaut)
    one.upload(*[(f"two {number}.jpg", photo) for number in range(3)])
    other.upload(*[(f"one {number}.jpg", single) for number in range(3)])
    other.page.get_by_role("button", name="中文").click()
    one.wait("done", "done", "done")
    other.wait("done", "done", "done")
    assert [one.rows(card) for card in range(3)] == [cells(api_faces(served, photo))] * 3
    assert [other.rows(card) for card in range(3)] == [cells(api_faces(served, single), male="男", female="女")] * 3
    other.page.click("#clear")
    assert one.page.locator(".card").count() == 3
    assert one.text("h1") == "Age and gender from faces"
