"""Requests made up from our own OpenAPI description, and others that break it: no 5xx, and answers as described."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings

from agegender import Predictor
from agegender.face.detector import Detector
from agegender.service.api import create_api
from tests.service.running import Photo, Running, running

schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
QUICK = settings(
    max_examples=20,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
OPERATIONS = ("POST /v1/analyze", "POST /v1/embeddings", "POST /v1/faces/embeddings", "GET /v1/models", "GET /readyz")


@pytest.fixture(scope="module")
def there(predictor: Predictor, detectors: list[Detector | None]) -> Iterator[Running]:
    with running(predictor, detectors, max_body=1.0) as served:
        yield served


@pytest.fixture(scope="module")
def schema(there: Running) -> Any:
    return schemathesis.openapi.from_dict(there.http.get("/openapi.json").json())


@pytest.mark.parametrize("kind", ["positive", "negative"])
@pytest.mark.parametrize("label", OPERATIONS)
def test_made_up_requests(there: Running, schema: Any, label: str, kind: str) -> None:
    from schemathesis import checks

    method, path = label.split()
    if kind == "negative" and method == "GET":
        pytest.skip("it takes nothing that could be wrong")
    described = [
        checks.status_code_conformance,
        checks.content_type_conformance,
        checks.response_schema_conformance,
        checks.negative_data_rejection,
    ]
    seen: list[int] = []
    with requests.Session() as session:

        @QUICK
        @given(schema[path][method].as_strategy(generation_mode=schemathesis.GenerationMode(kind)))
        def check(case: Any) -> None:
            answer = case.call(base_url=there.address, session=session)
            seen.append(answer.status_code)
            assert answer.status_code < 500 or (answer.status_code, path) == (501, "/v1/faces/embeddings")
            case.validate_response(answer, checks=described)

        check()
    assert len(seen) >= (1 if method == "GET" else 15)


def test_real_answers_are_as_described(there: Running, schema: Any, photo: bytes, people: Photo) -> None:
    for path, query in (("/v1/analyze", {"distribution": 1, "annotated": "jpeg"}), ("/v1/embeddings", {})):
        two = [("file", ("a.jpg", photo)), ("file", ("b.jpg", b"no picture"))]
        for files in (two, two[:1], two[1:]):
            answer = requests.post(f"{there.address}{path}", params=query, files=files, timeout=20)
            assert answer.status_code == (422 if files == two[1:] else 200)
            schema[path]["POST"].validate_response(answer)


def test_the_description_fits_the_service(predictor: Predictor, detectors: list[Detector | None]) -> None:
    """The smallest face and the width of embeddings are this service's, and no other's."""

    def described(served: Running) -> tuple[Any, Any]:
        paths = served.http.get("/openapi.json").json()["paths"]
        options = {each["name"]: each["schema"] for each in paths["/v1/analyze"]["post"]["parameters"]}
        body = paths["/v1/faces/embeddings"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        return options["min_face"]["anyOf"][0]["minimum"], body["properties"]["embeddings"]["items"]

    with running(predictor, detectors[:1]) as plain:
        assert described(plain) == (20, {"type": "array", "items": {"type": "number"}})
        plain.service.min_face = 64.0
        plain.service.vector_net = SimpleNamespace(width=7)  # type: ignore[assignment]
        # It was made once.
        assert described(plain)[0] == 20
        other = create_api(plain.service).openapi()["paths"]
        row = other["/v1/faces/embeddings"]["post"]["requestBody"]["content"]["application/json"]["schema"]
        assert row["properties"]["embeddings"]["items"] == {
            "type": "array",
            "items": {"type": "number"},
            "minItems": 7,
            "maxItems": 7,
        }
        option = next(each for each in other["/v1/analyze"]["post"]["parameters"] if each["name"] == "min_face")
        assert option["schema"]["anyOf"][0]["minimum"] == 64
        plain.service.vector_net = None
        again = create_api(plain.service).openapi()["paths"]["/v1/faces/embeddings"]["post"]["requestBody"]
        assert "minItems" not in again["content"]["application/json"]["schema"]["properties"]["embeddings"]["items"]
