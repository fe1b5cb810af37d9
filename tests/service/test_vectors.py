"""Embeddings that clients send: JSON and .npy, what is refused, and what a net on embeddings tells of them."""

from __future__ import annotations

import io
import json
import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agegender import Predictor
from agegender.deploy.vector_net import VectorNet, open_vector_net
from agegender.face.detector import Detector
from agegender.graph import Graph, ModelInfo, save_checkpoint, write_info
from agegender.service.refusal import RefusedError
from agegender.service.vectors import entropy, parse_vectors
from tests.service.running import Running, running

WIDTH = 512


def node(op: str, name: str, inputs: list[list[int]], **attrs: str) -> dict[str, Any]:
    return {"op": op, "name": name, "inputs": inputs, **({"attrs": attrs} if attrs else {})}


def graph_json() -> str:
    """Return a dense layer each for gender and age on an embedding, as MXNet's symbol JSON."""
    nodes = [
        node("null", "data", []),
        node("null", "gender_weight", []),
        node("null", "gender_bias", []),
        node("FullyConnected", "gender", [[0, 0, 0], [1, 0, 0], [2, 0, 0]], num_hidden="2"),
        node("softmax", "gender_softmax", [[3, 0, 0]], axis="-1"),
        node("null", "age_weight", []),
        node("null", "age_bias", []),
        node("FullyConnected", "age_fc", [[0, 0, 0], [5, 0, 0], [6, 0, 0]], num_hidden="101"),
        node("softmax", "age_softmax", [[7, 0, 0]], axis="-1"),
    ]
    arguments = [number for number, each in enumerate(nodes) if each["op"] == "null"]
    version = {"mxnet_version": ["int", 10901]}
    heads = [[4, 0, 0], [8, 0, 0]]
    row_ptr = list(range(len(nodes) + 1))
    return json.dumps(
        {"nodes": nodes, "arg_nodes": arguments, "node_row_ptr": row_ptr, "heads": heads, "attrs": version}
    )


@pytest.fixture(scope="module")
def params() -> dict[str, np.ndarray]:
    random = np.random.default_rng(0)
    sizes = {"gender_weight": (2, WIDTH), "gender_bias": (2,), "age_weight": (101, WIDTH), "age_bias": (101,)}
    return {f"arg:{name}": random.normal(0, 0.1, size).astype(np.float32) for name, size in sizes.items()}


@pytest.fixture(scope="module")
def net(params: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> VectorNet:
    prefix = tmp_path_factory.mktemp("vectors") / "vectors"
    save_checkpoint(prefix, 1, graph=Graph.from_json(graph_json()), params=params)
    info = ModelInfo(network="vectors", input={"shape": [WIDTH, 1, 1]}, best=1, last=1)
    info.readout = {
        "layout": "dex",
        "gender": {"outputs": ["gender_softmax_output"], "form": "probabilities"},
        "distribution": {"outputs": ["age_softmax_output"], "form": "probabilities"},
    }
    write_info(prefix, info)
    return open_vector_net(prefix, gpu_ids="cpu", threads=1)


@pytest.fixture(scope="module")
def there(predictor: Predictor, detectors: list[Detector | None], net: VectorNet) -> Iterator[Running]:
    with running(predictor, detectors[:1], vector_net=net, max_vectors=40, max_body=1.0) as served:
        yield served


def vectors(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 1, (count, WIDTH)).astype(np.float32)


def npy(array: np.ndarray, **how: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **how)
    return stream.getvalue()


def expected(params: dict[str, np.ndarray], rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities (n, 2) and (n, 101), computed with NumPy alone."""
    pair = []
    for name in ("gender", "age"):
        logits = rows.astype(np.float64) @ params[f"arg:{name}_weight"].T + params[f"arg:{name}_bias"]
        pair.append(np.exp(logits) / np.exp(logits).sum(1, keepdims=True))
    return pair[0], pair[1]


def check(told: list[dict[str, Any]], params: dict[str, np.ndarray], rows: np.ndarray) -> None:
    genders, ages = expected(params, rows)
    assert len(told) == len(rows)
    for face, gender, age in zip(told, genders, ages, strict=True):
        assert face["gender"] == ("female", "male")[gender.argmax()]
        assert face["gender_probability"] == pytest.approx(gender.max(), abs=1e-3)
        assert face["age"] == pytest.approx(age @ np.arange(101), abs=0.06)
        ends = np.interp([0.1, 0.9], np.concatenate([[0], age.cumsum()]), np.arange(102) - 0.5).clip(0, 100)
        np.testing.assert_allclose(face["age_interval"], ends, atol=0.06)
        assert face["gender_entropy"] == pytest.approx(scipy.stats.entropy(gender, base=2), abs=1e-3)
        assert face["age_entropy"] == pytest.approx(scipy.stats.entropy(age, base=2), abs=1e-3)


@pytest.mark.parametrize("form", ["object", "list", "npy", "npy64", "fortran"])
def test_what_is_told(there: Running, params: dict[str, np.ndarray], form: str) -> None:
    rows = vectors(3)
    body = {
        "object": json.dumps({"embeddings": rows.tolist()}).encode(),
        "list": json.dumps(rows.tolist()).encode(),
        "npy": npy(rows),
        "npy64": npy(rows.astype(">f8")),
        "fortran": npy(np.asfortranarray(rows)),
    }[form]
    answer = there.post("/v1/faces/embeddings", content=body)
    assert answer.status_code == 200, answer.text
    assert answer.json()["model"] == "vectors,1"
    check(answer.json()["faces"], params, rows)


def test_one_alone_with_its_distribution(there: Running, params: dict[str, np.ndarray]) -> None:
    rows = vectors(1, seed=2)
    answer = there.post("/v1/faces/embeddings?distribution=1&min_confidence=1", content=json.dumps(rows[0].tolist()))
    [face] = answer.json()["faces"]
    assert face["gender"] is None
    np.testing.assert_allclose(face["age_distribution"], expected(params, rows)[1][0], atol=1e-5)


def test_many_clients(there: Running, params: dict[str, np.ndarray]) -> None:
    def ask(number: int) -> None:
        rows = vectors(1 + number % 5, seed=number)
        check(there.post("/v1/faces/embeddings", content=npy(rows)).json()["faces"], params, rows)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(ask, range(24)))


def test_without_such_a_model(served: Running) -> None:
    answer = served.post("/v1/faces/embeddings", content=npy(vectors(1)))
    assert answer.status_code == 501
    assert answer.json()["error"] == {
        "cause": "no_embedding_model",
        "message": "no model that takes embeddings is served (start with --embedding_model MODEL)",
    }


def test_it_is_listed(there: Running) -> None:
    assert there.http.get("/v1/models").json()["models"][1] == {
        "name": "vectors,1",
        "input": "embedding",
        "shape": [WIDTH],
        "template": None,
        "tells": ["age", "gender", "distribution"],
    }


class Evil:
    """Runs code where it is unpickled."""

    def __reduce__(self) -> Any:
        return Path("unpickled").touch, ()


HUGE = npy(np.zeros(WIDTH, np.float32)).replace(b"(512,), ", b"(10**9,)")


@pytest.mark.parametrize(
    ("data", "status", "line"),
    [
        (npy(np.array([Evil()], object), allow_pickle=True), 422, "the .npy file holds no plain numbers"),
        (pickle.dumps(Evil()), 422, "the body is neither JSON nor .npy"),
        (npy(vectors(2))[:-1], 422, "the .npy file should hold 1024 numbers and has another length"),
        (HUGE, 422, "the .npy file has no header that can be read"),
        (npy(np.zeros((2, 3, 4))), 422, "the .npy file holds no array of one or two dimensions"),
        (npy(np.array(["a" * 9])), 422, "the .npy file holds no plain numbers"),
        (b"\x93NUMPY\x01\x00\xff\xff", 422, "the .npy file has no header that can be read"),
        (npy(np.zeros((3, 511))), 422, "the embeddings have shape [3, 511], not [n, 512]"),
        (npy(np.zeros((0, WIDTH))), 422, "the embeddings have shape [0, 512], not [n, 512]"),
        (npy(np.full((2, WIDTH), 1e300)), 422, "embedding 0 holds a number that is not finite in float32"),
        (npy(np.zeros((41, WIDTH))), 413, "41 embeddings in one request; at most 40 are taken"),
        (json.dumps([[float("nan")] * WIDTH]).encode(), 422, "embedding 0 holds a number that is not finite"),
        (b'{"embeddings": [[1, 2], [3]]}', 422, "the embeddings are no list of lists of numbers, all of one length"),
        (b'{"embedding": [[1, 2]]}', 422, 'a JSON object has the one member "embeddings"'),
        (json.dumps([["1"] * WIDTH]).encode(), 422, "the embeddings are no list of lists of numbers, all of one"),
        (json.dumps([[True] * WIDTH]).encode(), 422, "the embeddings are no list of lists of numbers, all of one"),
        (json.dumps([[False, *[0.5] * (WIDTH - 1)]]).encode(), 422, "the embeddings are no list of lists of numbers"),
        (json.dumps([[True, *[1] * (WIDTH - 1)]]).encode("utf-16"), 422, "the embeddings are no list of lists of"),
        (b"[[" + b"9" * 400 + b"]]", 422, "the embeddings are no list of lists of numbers, all of one length"),
        (b'"text"', 422, "the embeddings are no list of lists of numbers"),
        (b"[" * 50_000, 422, "the body is neither JSON nor .npy"),
        (b"", 422, "the body is neither JSON nor .npy"),
    ],
)
def test_what_is_refused(there: Running, data: bytes, status: int, line: str, tmp_path: Path) -> None:
    answer = there.post("/v1/faces/embeddings", content=data)
    assert answer.status_code == status
    assert answer.json()["error"]["message"].startswith(line)
    assert not Path("unpickled").exists()


@given(hnp.arrays(st.sampled_from(["<f4", ">f8", "i2", "u1", "f2"]), st.sampled_from([(5,), (1, 5), (3, 5)])))
def test_numbers_survive(array: np.ndarray) -> None:
    """Of all kinds, row by row, as NumPy itself reads them."""
    finite = np.isfinite(array.astype(np.float32, copy=True)) if array.dtype.itemsize < 8 else None
    with np.errstate(over="ignore"):
        wanted = np.atleast_2d(np.load(io.BytesIO(npy(array)), allow_pickle=False)).astype(np.float32)
    if finite is None:
        finite = np.isfinite(wanted)
    if not finite.all():
        with pytest.raises(RefusedError, match="not finite"):
            parse_vectors(npy(array), width=5, most=9)
    else:
        np.testing.assert_array_equal(parse_vectors(npy(array), width=5, most=9), wanted)


@given(st.binary(max_size=80), st.integers(0, 140))
def test_garbage_is_refused_in_one_line(garbage: bytes, place: int) -> None:
    good = npy(np.zeros((2, 5), np.float32))
    for data in (garbage, good[:place] + garbage + good[place + len(garbage) :]):
        try:
            assert parse_vectors(data, width=5, most=9).shape[1] == 5
        except RefusedError as refusal:
            assert refusal.status in (413, 422)
            assert "\n" not in str(refusal)


@pytest.mark.parametrize(("mass", "bits"), [([1, 0], 0.0), ([0.5, 0.5], 1.0), ([0.25] * 4, 2.0)])
def test_entropy(mass: list[float], bits: float) -> None:
    assert entropy(mass) == pytest.approx(bits)
