"""Many clients at once: each gets the answer to its own photo, all of them, and nothing is lost."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from agegender import Predictor
from agegender.face.detector import Detector
from agegender.face.photo import read_photo
from benchmarks.serve_load import load, number_jpeg, problem
from tests.service.running import Photo, jpeg, running

CLIENTS, REQUESTS, SECONDS = 32, 200, 60


@pytest.fixture(scope="module")
def folder(predictor: Predictor, tmp_path_factory: pytest.TempPathFactory, people: Photo) -> Path:
    """Four small photos, of a face or none, and what the predictor says of each alone."""
    folder = tmp_path_factory.mktemp("photos")
    expected = {}
    # Left, top, width and height within the photo of two people, at half its size.
    for number, (x, y, width, height) in enumerate(
        ((310, 40, 110, 110), (80, 15, 70, 80), (300, 20, 120, 120), (0, 0, 60, 60))
    ):
        data = jpeg(people[y : y + height, x : x + width])
        (folder / f"{number}.jpg").write_bytes(data)
        faces = [face.to_json() for face in predictor.predict(read_photo(data))]
        expected[f"{number}.jpg"] = {"faces": faces}
    assert [len(each["faces"]) for each in expected.values()] == [1, 1, 1, 0]
    (folder / "expected.json").write_text(json.dumps(expected))
    return folder


@pytest.mark.parametrize(
    ("most", "shared"), [(32, True), (32, False), (1, True)], ids=["batches", "one_thread_for_the_net", "one_by_one"]
)
def test_everybody_gets_his_own_answer(
    predictor: Predictor, detectors: list[Detector | None], folder: Path, most: int, shared: bool
) -> None:
    with running(predictor, detectors, max_batch=most, shared_net=shared) as there:
        seen = asyncio.run(load(there.port, folder, clients=CLIENTS, seconds=SECONDS, requests=REQUESTS))
        assert seen["first_wrong"] == []
        assert {name: seen[name] for name in ("asked", "answered", "lost", "wrong", "failed", "refused")} == {
            "asked": REQUESTS,
            "answered": REQUESTS,
            "lost": 0,
            "wrong": 0,
            "failed": 0,
            "refused": 0,
        }
        assert there.metric("agegender_images_total") == REQUESTS
        assert there.metric("agegender_queue_images") == 0


def test_more_than_the_queue_holds_is_refused_and_the_rest_answered(
    predictor: Predictor, detectors: list[Detector | None], folder: Path
) -> None:
    with running(predictor, detectors, queue=4, max_images=1) as there:
        seen = asyncio.run(load(there.port, folder, clients=CLIENTS, seconds=SECONDS, requests=100))
        assert seen["refused"] > 0
        assert seen["answered"] + seen["refused"] == seen["asked"] == 100
        assert (seen["wrong"], seen["lost"], seen["failed"]) == (0, 0, 0)
        assert there.metric("agegender_rejected_total", cause="queue_full") == seen["refused"]


def test_the_clients_notice_what_is_wrong(folder: Path) -> None:
    """The check checks: another digest, no face, another face."""
    expected = json.loads((folder / "expected.json").read_text())
    answer = {"images": [{"sha256": "ab", "faces": expected["0.jpg"]["faces"]}]}

    def said(digest: str, name: str) -> str:
        return problem(json.dumps(answer).encode(), digest, expected[name])

    assert said("ab", "0.jpg") == ""
    assert said("ac", "0.jpg") == "the digest is another request's"
    assert said("ab", "3.jpg") == "1 faces, not 0"
    assert said("ab", "1.jpg").startswith("another face: box [")


def test_numbered_photos_show_the_same_in_other_bytes(folder: Path) -> None:
    plain = (folder / "0.jpg").read_bytes()
    first, second = number_jpeg(plain, 1), number_jpeg(plain, 2)
    assert len({plain, first, second}) == 3
    np.testing.assert_array_equal(read_photo(first), read_photo(plain))
    assert cv2.imdecode(np.frombuffer(second, np.uint8), cv2.IMREAD_COLOR) is not None
