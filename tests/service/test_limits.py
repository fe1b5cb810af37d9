"""What the service refuses: each in one line, each with its status, and none of it reaches a file or a log."""

from __future__ import annotations

import io
import logging
import socket
import struct
import sys
import threading
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from agegender import Predictor
from agegender.errors import UsageError
from agegender.face.detector import Detector
from agegender.service.config import ServiceConfig
from agegender.service.pictures import decode_picture
from agegender.service.refusal import RefusedError
from tests.service.running import Held, Photo, Running, jpeg, png, running, until

QUOTED = "SECRET of a client"


def error_of(answer: httpx.Response) -> tuple[int, str, str]:
    """Return the status, the cause and the line, which has to be one."""
    problem = answer.json()["error"]
    assert set(problem) == {"cause", "message"}
    assert "\n" not in problem["message"]
    return answer.status_code, problem["cause"], problem["message"]


def bomb(width: int, height: int) -> bytes:
    """Return a small PNG whose header says that it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    rows = zlib.compress(b"\0" * 100_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def saved(kind: str, **how: Any) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (3000, 2000)).save(stream, kind, **how)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("data", "status", "cause", "line"),
    [
        (bomb(60_000, 60_000), 413, "too_many_pixels", "the image has 60000x60000 pixels, 3,600.0 million; at most 4"),
        (saved("JPEG"), 413, "too_many_pixels", "the image has 3000x2000 pixels, 6.0 million; at most 4 million"),
        (saved("WEBP"), 413, "too_many_pixels", "the image has 3000x2000 pixels"),
        (saved("GIF"), 413, "too_many_pixels", "the image has 3000x2000 pixels"),
        (saved("TIFF", compression="tiff_lzw"), 413, "too_many_pixels", "the image has 3000x2000 pixels"),
        (saved("BMP")[:64], 413, "too_many_pixels", "the image has 3000x2000 pixels"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", 422, "bad_image", "the image is in none of the formats"),
        (b"PK\x03\x04" + bytes(100), 422, "bad_image", "the image is in none of the formats JPEG, PNG, WEBP, GIF"),
        (b"\xff\xd8\xff", 422, "bad_image", "the image is in none of the formats"),
        (b"\x89PNG\r\n\x1a\n" + bytes(20), 422, "bad_image", "the image"),
        (b"", 422, "no_image", "the request holds no image"),
    ],
)
def test_hostile_files(served: Running, data: bytes, status: int, cause: str, line: str) -> None:
    before = served.metric("agegender_rejected_total", cause=cause)
    told = error_of(served.post(content=data, headers={"Content-Type": "image/png"}))
    assert told[:2] == (status, cause)
    assert told[2].startswith(line)
    assert served.metric("agegender_rejected_total", cause=cause) == before + 1


def test_a_bomb_is_not_decoded() -> None:
    start = time.process_time()
    with pytest.raises(RefusedError, match="20000x20000 pixels, 400"):
        decode_picture(bomb(20_000, 20_000), max_pixels=50_000_000)
    assert time.process_time() - start < 0.05


def test_a_jpeg_of_endless_scans(photo: bytes) -> None:
    scan = b"\xff\xda\x00\x08\x01\x01\x00\x00\x3f\x00"
    with pytest.raises(RefusedError, match="a JPEG of more than 100 scans"):
        decode_picture(photo[:-2] + 200 * scan + b"\xff\xd9", max_pixels=50_000_000)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_garbage_is_refused_or_read(photo: bytes, data: st.DataObject) -> None:
    """Bytes of a real JPEG and PNG, changed anywhere: a picture or one line, never another error."""
    source = bytearray(
        data.draw(st.sampled_from([photo[:4000], png(np.eye(16, dtype=np.uint8)[..., None] * [9, 8, 7])]))
    )
    for _ in range(data.draw(st.integers(1, 8))):
        source[data.draw(st.integers(0, min(200, len(source) - 1)))] = data.draw(st.integers(0, 255))
    try:
        picture = decode_picture(bytes(source[: data.draw(st.integers(0, len(source)))]), max_pixels=1_000_000)
        assert picture.dtype == np.uint8
        assert picture.shape[2] == 3
    except RefusedError as refusal:
        assert refusal.status in (413, 422)
        assert "\n" not in str(refusal)


def test_truncated_jpegs(served: Running, photo: bytes) -> None:
    for length in (4, 100, 700, len(photo) // 2, len(photo) - 200):
        status, cause, line = error_of(served.post(content=photo[:length]))
        assert (status, cause) == (422, "bad_image")
        assert line.startswith("the image")


@pytest.mark.parametrize("chunked", [False, True])
def test_too_large_a_body(served: Running, chunked: bool) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(21):
            yield bytes(100_000)

    body: Any = parts() if chunked else bytes(2_100_000)
    told = error_of(served.post(content=body, headers={"Content-Type": "image/jpeg"}))
    assert told == (413, "body_too_large", "the request body has more than 2 MB")
    assert served.service.budget.held == 0


def test_too_large_a_body_is_refused_before_it_is_sent(served: Running) -> None:
    with socket.create_connection((served.host, served.port)) as peer:
        peer.sendall(
            b"POST /v1/analyze HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: 999999999\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        peer.settimeout(5)
        start = time.monotonic()
        assert peer.recv(1000).startswith(b"HTTP/1.1 413 ")
        assert time.monotonic() - start < 0.9


def test_forms(served: Running, photo: bytes) -> None:
    too_many = [("file", (f"{number}.jpg", b"x")) for number in range(25)]
    assert error_of(served.post(files=too_many)) == (413, "too_many_images", "more than 24 images in one request")
    field = served.post(files={"file": ("a.jpg", photo)}, data={"min_score": "0.5"})
    assert error_of(field)[1:] == ("bad_form", "the form has a field that is no file; options belong into the query")
    kind = {"Content-Type": "multipart/form-data; boundary=cut"}
    start = b'--cut\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n'
    told = error_of(served.post(content=start + b"abc", headers=kind))
    assert told == (422, "bad_form", "the multipart form is cut off: its last boundary is missing")
    told = error_of(served.post(content=b"nonsense", headers=kind))
    assert told == (422, "bad_form", "the multipart form is damaged or has no boundary")
    told = error_of(served.post(content=b"x", headers={"Content-Type": "multipart/form-data"}))
    assert told == (422, "bad_form", "the multipart form is damaged or has no boundary")
    told = error_of(served.post(content=b"--cut--\r\n", headers=kind))
    assert told[:2] in ((422, "no_image"), (422, "bad_form"))
    long = start.replace(b'"a"', b'"' + b"a" * 5000 + b'"') + b"abc\r\n--cut--\r\n"
    assert error_of(served.post(content=long, headers=kind))[:2] == (422, "bad_form")


def test_other_requests(served: Running, photo: bytes) -> None:
    told = error_of(served.post(content=b"{}", headers={"Content-Type": "application/json"}))
    assert told == (415, "media_type", "send an image (Content-Type: image/jpeg, ...) or multipart/form-data")
    assert error_of(served.post("/v1/nothing"))[:2] == (404, "not_found")
    assert error_of(served.http.get("/v1/analyze"))[:2] == (405, "method")
    for query, line in {
        "min_score=2": "option 'min_score': Input should be less than or equal to 1",
        "min_score=nan": "option 'min_score': Input should be less than or equal to 1",
        "min_fase=40": "there is no option 'min_fase'",
        "annotated=gif": "option 'annotated': Input should be 'none', 'jpeg' or 'png'",
        "min_face=15": "option 'min_face': this service looks for faces of 20 pixels or more",
    }.items():
        assert error_of(served.post(f"/v1/analyze?{query}", content=photo)) == (422, "bad_option", line)


def test_a_slow_body(predictor: Predictor, detectors: list[Detector | None]) -> None:
    head = b"POST /v1/analyze HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\nContent-Length: 1000\r\n\r\n"
    with running(predictor, detectors[:1], read_timeout=0.3, body_timeout=0.8, header_timeout=0.4) as there:
        with socket.create_connection((there.host, there.port)) as peer:
            peer.settimeout(5)
            peer.sendall(head + b"abc")
            assert b"no byte came within 0.3 s" in everything(peer)
        with socket.create_connection((there.host, there.port)) as peer:
            peer.settimeout(5)
            peer.sendall(head)
            for _ in range(7):
                time.sleep(0.1)
                peer.sendall(b"x")
            answer = everything(peer)
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert b"it was not complete within 0.8 s" in answer
        # The head of a request, letter by letter: cut off without an answer.
        with socket.create_connection((there.host, there.port)) as peer:
            peer.settimeout(5)
            start = time.monotonic()
            with pytest.raises(ConnectionError):
                for letter in head[:100]:
                    peer.sendall(bytes([letter]))
                    time.sleep(0.02)
            assert time.monotonic() - start < 1.5
        assert there.service.budget.held == 0


def everything(peer: socket.socket) -> bytes:
    received = b""
    while part := peer.recv(4096):
        received += part
    return received


def test_a_full_queue(predictor: Predictor, detectors: list[Detector | None], photo: bytes) -> None:
    held = Held(detectors[0])
    with running(predictor, [held], queue=2, max_images=2) as there, ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(there.post, content=photo) for _ in range(2)]
        until(lambda: there.service.analyzer.inside == 2)
        answer = there.post(content=photo)
        assert error_of(answer) == (429, "queue_full", "the queue is full (2 of 2 photos); try again later")
        assert 1 <= int(answer.headers["retry-after"]) <= 60
        assert "agegender_queue_images 2.0" in there.http.get("/metrics").text
        held.release.set()
        assert [each.result().status_code for each in waiting] == [200, 200]
        assert there.post(content=photo).status_code == 200


def test_a_deadline(predictor: Predictor, detectors: list[Detector | None], photo: bytes) -> None:
    held = Held(detectors[0])
    with running(predictor, [held], deadline=0.3) as there:
        told = error_of(there.post(files=[("file", ("a", photo)), ("file", ("b", photo))]))
        assert told == (504, "deadline", "the request took longer than its deadline")
        held.release.set()
        # What nobody waits for is passed over, and the next client is served.
        until(lambda: there.service.analyzer.inside == 0)
        assert there.post(content=photo).status_code == 200


def test_a_client_that_goes_leaves_its_place(
    predictor: Predictor, detectors: list[Detector | None], photo: bytes
) -> None:
    held = Held(detectors[0])
    with running(predictor, [held]) as there:
        with pytest.raises(httpx.ReadTimeout):
            there.post(content=photo, timeout=0.3)
        until(lambda: there.metric("agegender_rejected_total", cause="client_gone") == 1)
        held.release.set()
        until(lambda: there.service.analyzer.inside == 0)
        assert there.service.budget.held == 0


def test_memory_for_bodies(predictor: Predictor, detectors: list[Detector | None], photo: bytes) -> None:
    held = Held(detectors[0])
    size = len(photo) / 1e6 * 1.5
    with running(predictor, [held], max_body=size, max_memory=size) as there, ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(there.post, content=photo)
        assert held.reached.wait(5)
        answer = there.post(content=photo)
        assert error_of(answer) == (503, "memory_full", "too many request bodies are held; try again later")
        assert answer.headers["retry-after"] == "1"
        held.release.set()
        assert waiting.result().status_code == 200
        assert there.post(content=photo).status_code == 200


def test_tokens_and_origins(predictor: Predictor, detectors: list[Detector | None], photo: bytes) -> None:
    tokens = ("first-token-of-two", "second-token-of-two")
    with running(predictor, detectors[:1], tokens=tokens, cors=("https://shop.example",)) as there:
        for value in (None, "Bearer wrong", "Bearer", "Basic first-token-of-two", "first-token-of-two", "Bearer é"):
            headers = {} if value is None else {"Authorization": value.encode("latin-1")}
            answer = there.post(content=photo, headers={**headers, "Origin": "https://shop.example"})
            told = error_of(answer)
            assert told == (401, "token", "this needs a valid token: Authorization: Bearer TOKEN")
            assert answer.headers["www-authenticate"] == "Bearer"
            assert answer.headers["access-control-allow-origin"] == "https://shop.example"
        for token in tokens:
            assert there.post(content=photo, headers={"Authorization": f"Bearer {token}"}).status_code == 200
        assert there.http.get("/metrics").status_code == 401
        assert there.http.get("/healthz").status_code == there.http.get("/readyz").status_code == 200
        asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
        asked["Access-Control-Request-Headers"] = "Authorization"
        assert there.http.options("/v1/analyze", headers=asked).status_code == 200
        asked["Origin"] = "https://other.example"
        refused = there.http.options("/v1/analyze", headers=asked)
        assert refused.status_code == 400
        assert "access-control-allow-origin" not in refused.headers


class Opened:
    """The files that this process opens for writing while it watches; audit hooks can't be taken off again."""

    def __init__(self) -> None:
        self.watching = False
        self.files: list[str] = []
        sys.addaudithook(self._hook)

    def _hook(self, event: str, args: tuple[Any, ...]) -> None:
        if self.watching and event == "open" and (set(str(args[1] or "")) & set("wax+") or (args[2] or 0) & 3):
            self.files.append(str(args[0]))
        if self.watching and event.startswith("tempfile."):
            self.files.append(f"{event} {args[0]}")


def test_nothing_that_is_sent_is_written_or_logged(
    served: Running, caplog: pytest.LogCaptureFixture, people: Photo, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    logging.getLogger("httpx").setLevel(logging.WARNING)
    logging.getLogger("httpcore").setLevel(logging.WARNING)
    large = png(np.random.default_rng(0).integers(0, 256, (760, 800, 3), np.uint8))
    assert len(large) > 1_500_000
    opened = Opened()
    opened.watching = True
    files = [("file", ("SECRET-name.png", large)), ("file", ("SECRET.jpg", b"SECRET bytes"))]
    assert served.post(files=files).status_code == 200
    assert served.post("/v1/analyze?SECRET=SECRET", content=jpeg(people)).status_code == 422
    damaged = b"--cut\r\nSECRET[\r\n\r\nSECRET\r\n--cut--"
    answer = served.post(content=damaged, headers={"Content-Type": "multipart/form-data; boundary=cut"})
    assert error_of(answer)[:2] == (422, "bad_form")
    monkeypatch.setattr(served.service.predictor.reader, "crop", _raise)
    assert error_of(served.post(content=jpeg(people)))[:2] == (500, "crash")
    monkeypatch.setattr(served.service.budget, "take", _raise)
    assert error_of(served.post(content=jpeg(people)))[:2] == (500, "crash")
    until(lambda: "a request could not be answered: ValueError" in caplog.text)
    opened.watching = False
    assert opened.files == []
    assert "SECRET" not in caplog.text
    assert "python_multipart" not in caplog.text
    assert "a photo could not be analysed: ValueError" in caplog.text
    assert "_raise" in caplog.text


def _raise(*_: object) -> None:
    # Not in this line, which a traceback shows.
    raise ValueError(QUOTED)


def test_the_audit_hook_sees_files(tmp_path: Any) -> None:
    opened = Opened()
    opened.watching = True
    (tmp_path / "a").write_bytes(b"x")
    thread = threading.Thread(target=(tmp_path / "b").write_bytes, args=(b"x",))
    thread.start()
    thread.join()
    opened.watching = False
    assert [name.rpartition("/")[2] for name in opened.files] == ["a", "b"]


@pytest.mark.parametrize(
    ("values", "line"),
    [
        ({"queue": 0}, "--queue 0: at least 1"),
        ({"deadline": 0}, "--deadline 0: more than 0"),
        ({"port": 70000}, "--port 70000: at most 65535"),
        ({"max_images": 65}, "--max_images 65 is more than --queue 64 has room for"),
        ({"max_body": 300}, "--max_body 300 is more than --max_memory 256 holds"),
    ],
)
def test_limits_that_make_no_sense(values: dict[str, Any], line: str) -> None:
    with pytest.raises(UsageError) as caught:
        ServiceConfig(**values)
    assert str(caught.value) == line
