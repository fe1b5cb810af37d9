"""What the service says is what the predictor says, whoever asks beside whom."""

from __future__ import annotations

import base64
import hashlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import numpy as np
import pytest

from agegender import Predictor
from agegender.deploy.draw import draw_faces
from agegender.deploy.face import Face
from agegender.face.detector import Detector
from agegender.face.photo import read_photo
from tests.service.running import Held, Photo, Running, jpeg, png, running, until

# Tenths of a pixel and of a year are told; a net's last digit depends on its neighbours in the batch.
ROUNDED = 0.051


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def same(told: list[dict[str, Any]], faces: list[Face], *, distribution: bool = False) -> None:
    assert len(told) == len(faces)
    for each, face in zip(told, faces, strict=True):
        expected = face.to_json(distribution=distribution)
        assert set(each) == set(expected)
        assert each["gender"] == expected["gender"]
        for name in ("box", "landmarks", "age", "age_interval"):
            np.testing.assert_allclose(each[name], expected[name], atol=2 * ROUNDED, err_msg=name)
        for name in ("score", "gender_probability", *(["age_distribution"] if distribution else [])):
            np.testing.assert_allclose(each[name], expected[name], atol=2e-4, err_msg=name)


def test_a_raw_body(served: Running, predictor: Predictor, photo: bytes) -> None:
    answer = served.post(content=photo, headers={"Content-Type": "image/jpeg"})
    assert answer.status_code == 200
    assert answer.headers["cache-control"] == "no-store"
    document = answer.json()
    assert document["model"] == "ssrnet,46"
    [image] = document["images"]
    picture = read_photo(photo)
    assert (image["width"], image["height"]) == (picture.shape[1], picture.shape[0])
    assert (image["index"], image["name"], image["sha256"]) == (0, "", sha256(photo))
    assert set(image["timing"]) == {"wait_ms", "decode_ms", "detect_ms", "read_ms", "total_ms"}
    assert image["timing"]["total_ms"] >= image["timing"]["detect_ms"] > 0
    faces = predictor.predict(picture)
    assert len(faces) == 2
    same(image["faces"], faces)


def test_what_curl_sends_by_default(served: Running, photo: bytes) -> None:
    answer = served.post(content=photo, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert len(answer.json()["images"][0]["faces"]) == 2


def test_many_files_and_a_bad_one(served: Running, predictor: Predictor, people: Photo) -> None:
    mirrored = png(np.ascontiguousarray(people[:, ::-1]))
    data = [jpeg(people), b"GIF89a nonsense", mirrored, jpeg(people)[:3000]]
    files = [("file", (f"{number}.bin", each, "image/png")) for number, each in enumerate(data)]
    answer = served.post(files=files)
    assert answer.status_code == 200
    images = answer.json()["images"]
    assert [image["name"] for image in images] == ["0.bin", "1.bin", "2.bin", "3.bin"]
    assert [image["sha256"] for image in images] == [sha256(each) for each in data]
    assert ["error" in image for image in images] == [False, True, False, True]
    same(images[0]["faces"], predictor.predict(read_photo(data[0])))
    same(images[2]["faces"], predictor.predict(read_photo(data[2])))
    assert images[1]["error"]["cause"] == "bad_image"
    assert images[1]["error"]["message"].startswith("the image is in none of the formats JPEG, PNG")
    assert images[3]["error"]["message"].startswith("the image: damaged JPEG")


def test_options(served: Running, predictor: Predictor, people: Photo, photo: bytes) -> None:
    faces = predictor.predict(read_photo(photo))
    query: dict[str, Any] = {"distribution": 1}
    [image] = served.post(content=photo, params=query).json()["images"]
    same(image["faces"], faces, distribution=True)
    assert sum(image["faces"][0]["age_distribution"]) == pytest.approx(1, abs=1e-4)
    middle = (faces[0].score + faces[1].score) / 2
    [image] = served.post(content=photo, params={"min_score": middle}).json()["images"]
    same(image["faces"], faces[:1])
    assert predictor.detector is not None
    [image] = served.post(content=photo, params={"min_face": 110}).json()["images"]
    assert len(image["faces"]) == len(predictor.detector.detect(read_photo(photo), min_face=110)) == 1
    sureness = sorted(face.gender_probability or 0 for face in faces)
    [image] = served.post(content=photo, params={"min_confidence": sum(sureness) / 2}).json()["images"]
    assert sorted(face["gender"] is None for face in image["faces"]) == [False, True]
    assert all(face["gender_probability"] for face in image["faces"])


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_annotated_pictures(served: Running, predictor: Predictor, photo: bytes, kind: str) -> None:
    expected = draw_faces(read_photo(photo), predictor.predict(read_photo(photo)), lang="zh")
    query = {"annotated": kind, "lang": "zh"}
    [image] = served.post(content=photo, params=query).json()["images"]
    assert image["annotated"]["media_type"] == f"image/{kind}"
    assert "draw_ms" in image["timing"]
    inside = base64.b64decode(image["annotated"]["data"])
    answer = served.post(content=photo, params={"lang": "zh"}, headers={"Accept": f"image/{kind}"})
    assert answer.headers["content-type"] == f"image/{kind}"
    assert answer.headers["x-image-sha256"] == sha256(photo)
    for data in (inside, answer.content):
        picture = read_photo(data).astype(int)
        assert picture.shape == expected.shape
        difference = np.abs(picture - expected)
        assert difference.max() == 0 if kind == "png" else difference.mean() < 3


def test_a_picture_is_the_answer_to_one_image_only(served: Running, photo: bytes) -> None:
    files = [("file", ("a.jpg", photo)), ("file", ("b.jpg", photo))]
    answer = served.post(files=files, headers={"Accept": "image/png"})
    assert answer.status_code == 422
    assert answer.json()["error"] == {
        "cause": "many_images",
        "message": "a picture as the answer needs a request of one image",
    }


def test_embeddings(served: Running, predictor: Predictor, photo: bytes) -> None:
    [image] = served.post("/v1/embeddings", content=photo).json()["images"]
    faces = predictor.predict(read_photo(photo))
    assert image["sha256"] == sha256(photo)
    for told, face in zip(image["faces"], faces, strict=True):
        assert set(told) == {"box", "landmarks", "score", "embedding"}
        assert len(told["embedding"]) == 64
        np.testing.assert_allclose(told["embedding"], face.embedding, atol=1e-4)


def test_a_photo_without_faces(served: Running) -> None:
    [image] = served.post(content=png(np.zeros((80, 120, 3), np.uint8))).json()["images"]
    assert (image["width"], image["height"], image["faces"]) == (120, 80, [])


def test_without_detector_the_photo_is_a_crop(predictor: Predictor, people: Photo) -> None:
    crop = np.ascontiguousarray(people[20:100, 80:150])
    with running(predictor, [None]) as there:
        [image] = there.post(content=png(crop)).json()["images"]
    reader = predictor.reader
    whole = predictor.whole(crop)
    same(image["faces"], predictor.predict_crops(reader.crop(crop, None), [whole]))


def test_a_confidence_for_all_who_say_none(
    predictor: Predictor, detectors: list[Detector | None], photo: bytes
) -> None:
    with running(predictor, detectors[:1], min_confidence=1.0) as there:
        [image] = there.post(content=photo).json()["images"]
        assert [face["gender"] for face in image["faces"]] == [None, None]
        [image] = there.post(content=photo, params={"min_confidence": 0}).json()["images"]
        assert None not in [face["gender"] for face in image["faces"]]


def test_what_is_served(served: Running) -> None:
    document = served.http.get("/v1/models").json()
    assert document["detector"] == "mtcnn"
    assert document["models"] == [
        {
            "name": "ssrnet,46",
            "input": "picture",
            "shape": [3, 64, 64],
            "template": "utkface",
            "tells": ["age", "gender", "distribution", "embedding"],
        }
    ]
    assert document["limits"]["max_body"] == 2.0
    assert served.http.get("/healthz").json() == {"status": "ok"}
    assert served.http.get("/readyz").json() == {"status": "ok", "problems": []}


def test_pages_load_nothing_from_elsewhere(served: Running) -> None:
    for path in ("/docs", "/"):
        page = served.http.get(path)
        assert page.headers["content-type"].startswith("text/html")
        assert "default-src 'self'" in page.headers["content-security-policy"]
        assert "://" not in page.text.replace("http://www.w3.org", "")
    assert "POST /v1/analyze" in served.http.get("/docs").text
    assert served.http.get("/openapi.json").json()["paths"]["/v1/analyze"]["post"]["requestBody"]


def test_metrics(served: Running, photo: bytes) -> None:
    before = served.metric("agegender_faces_total"), served.metric("agegender_images_total")
    served.post(content=photo)
    assert served.metric("agegender_faces_total") == before[0] + 2
    assert served.metric("agegender_images_total") == before[1] + 1
    text = served.http.get("/metrics").text
    for line in (
        'agegender_requests_total{route="/v1/analyze",status="200"}',
        'agegender_request_seconds_bucket{le="+Inf",route="/v1/analyze"}',
        'agegender_batch_size_bucket{le="2.0",net="faces"}',
        "agegender_queue_images 0.0",
        "agegender_ready 1.0",
    ):
        assert line in text


def variants(people: Photo, count: int) -> list[bytes]:
    """Return different photos of the two: shifted, mirrored, darker; no two have a face at the same place."""
    pictures = []
    for number in range(count):
        canvas = np.full((300, 560, 3), 7 * number, np.uint8)
        top, left = 3 * (number % 12), 4 * (number // 2)
        body = people if number % 2 else people[:, ::-1]
        canvas[top : top + people.shape[0], left : left + people.shape[1]] = body * (0.6 + 0.4 * number / count)
        pictures.append(jpeg(canvas))
    return pictures


def test_answers_of_many_clients_are_never_mixed_up(served: Running, predictor: Predictor, people: Photo) -> None:
    pictures = variants(people, 20)
    expected = [predictor.predict(read_photo(data)) for data in pictures]
    assert len({tuple(face.box.tolist()) for faces in expected for face in faces}) == sum(map(len, expected)) >= 30

    def ask(number: int) -> list[tuple[int, Any]]:
        mine = [number, (7 * number + 3) % 20] if number % 3 == 0 else [number]
        files = [("file", (str(index), pictures[index])) for index in mine]
        with httpx.Client(base_url=served.address, timeout=30, trust_env=False) as client:
            answer = client.post("/v1/analyze", files=files)
        assert answer.status_code == 200, answer.text
        return list(zip(mine, answer.json()["images"], strict=True))

    with ThreadPoolExecutor(20) as pool:
        answers = [pair for pairs in pool.map(ask, range(20)) for pair in pairs]
    assert len(answers) == 27
    for index, image in answers:
        assert image["sha256"] == sha256(pictures[index])
        assert image["name"] == str(index)
        same(image["faces"], expected[index])


def test_faces_of_several_requests_share_a_batch(
    predictor: Predictor, detectors: list[Detector | None], photo: bytes
) -> None:
    held = [Held(detector) for detector in detectors]
    with running(predictor, held, max_wait=5000) as there:
        before = there.metric("agegender_batch_size_count", net="faces")
        with ThreadPoolExecutor(2) as pool:
            answers = [pool.submit(there.post, content=photo) for _ in held]
            until(lambda: there.service.analyzer.inside == 2)
            for each in held:
                each.release.set()
            assert [len(answer.result().json()["images"][0]["faces"]) for answer in answers] == [2, 2]
        assert there.metric("agegender_batch_size_count", net="faces") == before + 1
        assert there.metric("agegender_batch_size_bucket", net="faces", le="4.0") == before + 1
