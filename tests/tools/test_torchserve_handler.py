"""The handler for TorchServe, called as TorchServe calls it, with an exported file."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from agegender import Predictor
from agegender.app.cli import run_command
from agegender.face.photo import read_photo
from tools.torchserve_handler import FaceHandler


@dataclass
class Context:
    """What a handler sees of ``ts.context.Context`` (TorchServe 0.12)."""

    system_properties: dict[str, Any]
    manifest: dict[str, Any]
    statuses: dict[int, tuple[int, str]] = field(default_factory=dict)

    def set_response_status(self, code: int = 200, phrase: str = "", idx: int = 0) -> None:
        self.statuses[idx] = code, phrase


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with an exported file, as TorchServe unpacks its archive."""
    folder = tmp_path_factory.mktemp("archive")
    assert run_command("export", ["ssrnet", "--output", str(folder / "net.onnx")], prog="export.py") == 0
    return folder


@pytest.fixture
def context(archive: Path) -> Context:
    properties = {"model_dir": str(archive), "gpu_id": None, "batch_size": 4, "server_name": "MMS"}
    return Context(properties, {"model": {"modelName": "agegender", "serializedFile": "net.onnx"}})


@pytest.fixture(scope="module")
def handler(archive: Path) -> FaceHandler:
    handler = FaceHandler()
    assert not handler.initialized
    handler.initialize(Context({"model_dir": str(archive)}, {"model": {"serializedFile": "net.onnx"}}))
    assert handler.initialized
    return handler


def test_each_photo_gets_its_own_faces(handler: FaceHandler, context: Context, root: Path) -> None:
    photo = (root / "test.jpg").read_bytes()
    rows = [{"body": bytearray(photo)}, {"data": b"no picture"}, {"data": base64.b64encode(photo).decode()}]
    first, broken, last = handler.handle(rows, context)
    expected = Predictor("ssrnet", gpu_ids="cpu", threads=1).predict(read_photo(photo))
    assert len(expected) == 2
    for answer in (first, last):
        assert [(face["gender"], face["box"]) for face in answer["faces"]] == [
            (face.gender, face.to_json()["box"]) for face in expected
        ]
        assert [face["age"] for face in answer["faces"]] == pytest.approx([face.age for face in expected], abs=0.1)
    assert broken == {
        "error": {
            "cause": "bad_image",
            "message": "the image is in none of the formats JPEG, PNG, WEBP, GIF, BMP, TIFF",
        }
    }
    assert context.statuses == {1: (422, "bad_image")}


@pytest.mark.parametrize(
    ("row", "status", "message"),
    [
        ({"data": "no base64!"}, (422, "bad_image"), "the photo is a text that is no base64"),
        ({"body": {"photo": 1}}, (422, "no_image"), "the request holds no photo: send its bytes, or base64"),
        ({}, (422, "no_image"), "the request holds no photo: send its bytes, or base64"),
        ({"data": b""}, (422, "bad_image"), "the image is empty (0 bytes)"),
        ({"data": b"BM" + b"\0" * 12 + b"\x28\0\0\0\x10\x27\0\0\x10\x27\0\0\x01\0\x18\0" + b"\0" * 24},
         (413, "too_many_pixels"), "the image has 10000x10000 pixels, 100.0 million; at most 50 million are taken"),
    ],
)  # fmt: skip
def test_what_is_no_photo(
    handler: FaceHandler, context: Context, row: dict[str, Any], status: tuple[int, str], message: str
) -> None:
    assert handler.handle([row], context) == [{"error": {"cause": status[1], "message": message}}]
    assert context.statuses == {0: status}


def test_nothing_asked(handler: FaceHandler, context: Context) -> None:
    assert handler.handle([], context) == []
