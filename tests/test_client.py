"""The clients against a real service: pictures, embeddings, refusals, and asking again."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from agegender import Predictor
from agegender.client import AsyncClient, Client, ServiceError
from agegender.deploy.detectors import open_detector
from agegender.errors import UsageError
from agegender.face.photo import read_photo
from tests.service.running import Held, running, until


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor("ssrnet", gpu_ids="cpu", threads=1)


def test_pictures(root: Path, predictor: Predictor, tmp_path: Path) -> None:
    photo = root / "test.jpg"
    faces = predictor.predict(read_photo(photo))
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    with running(predictor, [predictor.detector]) as there, Client(there.address) as client:
        first, second, third = client.analyze(photo, bad, photo.read_bytes(), distribution=True)
        assert [first["name"], second["name"], third["name"]] == ["test.jpg", "bad.jpg", "image"]
        assert first["faces"] == third["faces"]
        assert second["error"]["cause"] == "bad_image"
        assert len(first["faces"][0]["age_distribution"]) == 101
        np.testing.assert_allclose([face["age"] for face in first["faces"]], [face.age for face in faces], atol=0.06)
        [told] = client.embeddings(str(photo), min_score=0.5)
        np.testing.assert_allclose(told["faces"][1]["embedding"], faces[1].embedding, atol=1e-3)
        picture = read_photo(client.annotate(photo, lang="zh"))
        assert picture.shape == read_photo(photo).shape
        assert client.models()["models"][0]["name"] == "ssrnet,46"
        with pytest.raises(ServiceError, match="the image is in none of the formats") as caught:
            client.analyze(bad)
        assert (caught.value.status, caught.value.cause) == (422, "bad_image")
        with pytest.raises(ServiceError, match="no model that takes embeddings is served"):
            client.from_embeddings(np.zeros((2, 512)))
        with pytest.raises(ServiceError, match="there is no option 'min_fase'"):
            client.analyze(photo, min_fase=3)
        with pytest.raises(UsageError, match="no picture was given"):
            client.analyze()

        async def ask() -> None:
            async with AsyncClient(there.address) as client:
                answers = await asyncio.gather(client.analyze(photo), client.analyze(bad, photo), client.models())
                assert answers[0][0]["faces"] == answers[1][1]["faces"]
                assert answers[2]["detector"] == "mtcnn"
                assert (await client.annotate(photo))[:2] == b"\xff\xd8"
                assert len((await client.embeddings(photo))[0]["faces"]) == 2
                with pytest.raises(ServiceError, match="no model that takes embeddings"):
                    await client.from_embeddings([[0.0] * 512])

        asyncio.run(ask())


def test_a_full_queue_is_asked_again(root: Path, predictor: Predictor) -> None:
    held = Held(open_detector("mtcnn", threads=1))
    photo = root / "test.jpg"
    with (
        running(predictor, [held], queue=1, max_images=1) as there,
        ThreadPoolExecutor(2) as pool,
        Client(there.address, retries=0) as hasty,
        Client(there.address, retries=3) as patient,
    ):
        waiting = pool.submit(hasty.analyze, photo)
        until(lambda: there.service.analyzer.inside == 1)
        with pytest.raises(ServiceError, match="the queue is full") as caught:
            hasty.analyze(photo)
        assert caught.value.status == 429
        again = pool.submit(patient.analyze, photo)
        until(lambda: there.metric("agegender_rejected_total", cause="queue_full") == 2)
        held.release.set()
        assert waiting.result()[0]["faces"] == again.result()[0]["faces"]


def test_tokens(root: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGEGENDER_TOKEN", "a-token-of-the-environment")
    with running(predictor, [predictor.detector], tokens=["a-token-of-the-environment"]) as there:
        with Client(there.address) as client:
            assert client.models()["detector"] == "mtcnn"
        with Client(there.address, token="another") as client, pytest.raises(ServiceError, match="a valid token"):
            client.models()


def test_nobody_there() -> None:
    refused = pytest.raises(ServiceError, match=r"http://127.0.0.1:9: no answer \(ConnectError")
    with Client("http://127.0.0.1:9", timeout=2) as client, refused as caught:
        client.models()
    assert caught.value.status == 0


def test_an_answer_about_other_bytes(root: Path, predictor: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(predictor, [predictor.detector]) as there, Client(there.address) as client:
        monkeypatch.setattr("agegender.client.hashlib.sha256", lambda data: __import__("hashlib").sha512(data))
        with pytest.raises(ServiceError, match="about other bytes than those that were sent"):
            client.analyze(root / "test.jpg")


def test_httpx_loads_with_the_first_client(root: Path) -> None:
    code = "import sys, agegender.client; assert not {'httpx', 'numpy', 'cv2'} & set(sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=root / "src").returncode == 0
