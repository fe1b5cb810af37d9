"""tools/embed.py: recognisers as ONNX file and MXNet pair, what goes into them, and the set that comes out."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg

from agegender.app import embed
from agegender.app.cli import main
from agegender.app.embed_model import Embedder
from agegender.executor.onnx_graph import to_onnx
from agegender.face.templates import get_template
from agegender.graph import Graph, save_checkpoint
from agegender.npy import read_vector
from agegender.recordio import Header, RecordWriter, open_records, pack, unpack, verify
from agegender.recordio.body import vector_check

SIDE, WIDTH, COUNT = 8, 6, 11
KEYS = [3 * place + 2 for place in range(COUNT)]

Floats = npt.NDArray[np.float64]


def node(op: str, name: str, inputs: list[list[int]], **attrs: str) -> dict[str, Any]:
    return {"op": op, "name": name, "inputs": inputs, **({"attrs": attrs} if attrs else {})}


def graph(*, normalises: bool) -> Graph:
    """Return a dense layer ``fc1`` on a picture, with insightface's two operators before it or without."""
    nodes = [node("null", "data", []), node("null", "fc1_weight", []), node("null", "fc1_bias", [])]
    last = 0
    if normalises:
        nodes.append(node("_minus_scalar", "minus", [[0, 0, 0]], scalar="127.5"))
        nodes.append(node("_mul_scalar", "mul", [[3, 0, 0]], scalar="0.0078125"))
        last = 4
    nodes.append(node("FullyConnected", "fc1", [[last, 0, 0], [1, 0, 0], [2, 0, 0]], num_hidden=str(WIDTH)))
    places = [place for place, each in enumerate(nodes) if each["op"] == "null"]
    heads = [[len(nodes) - 1, 0, 0]]
    document = {"nodes": nodes, "arg_nodes": places, "node_row_ptr": list(range(len(nodes) + 1)), "heads": heads}
    return Graph.from_json(json.dumps({**document, "attrs": {"mxnet_version": ["int", 10901]}}))


PARAMS = {
    "arg:fc1_weight": np.random.default_rng(0).normal(0, 0.1, (WIDTH, 3 * SIDE * SIDE)).astype(np.float32),
    "arg:fc1_bias": np.arange(WIDTH, dtype=np.float32),
}


def dense(data: Floats) -> Floats:
    """Compute what the nets do with (n, h, w, 3), colours in their order, by NumPy alone."""
    flat = data.transpose(0, 3, 1, 2).reshape(len(data), -1)
    return np.asarray(flat @ PARAMS["arg:fc1_weight"].T.astype(float) + PARAMS["arg:fc1_bias"])


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with set/train.rec (11 pictures, keys 2, 5, 8 ...), recogniser.onnx and the pair arc/model,0."""
    monkeypatch.chdir(tmp_path)
    write_pictures(Path("set/train.rec"), template="arcface")
    model = to_onnx(graph(normalises=False), PARAMS, image=(3, SIDE, SIDE))
    Path("recogniser.onnx").write_bytes(model.SerializeToString())
    save_checkpoint(Path("arc/model"), 0, graph=graph(normalises=True), params=PARAMS)
    return tmp_path


def write_pictures(path: Path, *, template: str, bodies: dict[int, bytes] | None = None) -> None:
    rng = np.random.default_rng(1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with RecordWriter(path) as writer:
        for place, key in enumerate(KEYS):
            picture = rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8)
            body = (bodies or {}).get(place) or simplejpeg.encode_jpeg(picture, quality=95)
            writer.write(key, pack(Header(np.array([place % 2, 20 + place], np.float32), key), body))
    with path.with_suffix(".csv").open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, lineterminator="\n")
        rows.writerow(["key", "path", "source", "subject", "group", "box", "score"])
        rows.writerows([key, f"女,{key}.jpg", "a" if key < 20 else "b", "", "", "", ""] for key in KEYS)
    path.with_suffix(".lst").write_text("".join(f"{key}\t0\t20\t{key}.jpg\n" for key in KEYS))
    info = {"format": 1, "split": "train", "records": COUNT, "sources": {"a": 6, "b": 5}, "labels": "gender,age"}
    info |= {"body": "jpeg", "quality": 95, "template": get_template(template).to_json(SIDE), "sha256": {}}
    path.with_suffix(".json").write_text(json.dumps(info))


def pictures(path: str = "set/train.rec") -> npt.NDArray[np.uint8]:
    with open_records(path) as records:
        return np.stack([simplejpeg.decode_jpeg(bytes(unpack(records.read(row))[1])) for row in range(len(records))])


def embeddings(path: str = "emb/train.rec") -> npt.NDArray[np.float32]:
    with open_records(path) as records:
        return np.stack([read_vector(unpack(records.read(row))[1], WIDTH) for row in range(len(records))])


def run(*flags: str) -> int:
    return main(["embed", "--data", "set/train.rec", "--output", "emb", "--gpu_ids", "cpu", *flags])


def test_a_set_of_embeddings(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--model", "recogniser.onnx", "--batch_size", "4") == 0
    said = capsys.readouterr()
    assert "recogniser.onnx: RGB 8x8, (x - 127.5) / 127.5 (the graph doesn't normalise); arcface crops" in said.err
    assert re.match(r"emb/train\.rec: 11 embeddings of 6 numbers, [\d,]+ bytes \(\d+/s\)\n", said.out)
    np.testing.assert_allclose(embeddings(), dense((pictures() - 127.5) / 127.5), rtol=1e-4, atol=1e-4)
    with open_records("set/train.rec") as before, open_records("emb/train.rec") as after:
        assert after.keys.tolist() == KEYS
        np.testing.assert_array_equal(after.labels(2), before.labels(2))
        assert [unpack(payload)[0].id for payload in after] == KEYS
        digest = before.digest()
    assert verify(Path("emb/train.rec"), check=vector_check(WIDTH), label_order="gender,age").ok
    for name in ("train.csv", "train.lst"):
        assert Path("emb", name).read_bytes() == Path("set", name).read_bytes()
    document = json.loads(Path("emb/train.json").read_text())
    made = document["embedding"]
    assert (document["body"], document["records"], document["sources"]) == ("float32", COUNT, {"a": 6, "b": 5})
    assert (made["size"], made["model"], made["output"]) == (WIDTH, "recogniser.onnx", "fc1_output")
    assert list(made["sha256"]) == ["recogniser.onnx"]
    assert (made["crops"], made["normalised"], made["flip"]) == ("as packed", False, False)
    assert document["made_from"] == {"set": "train.rec", "digest": digest}
    assert document["template"]["name"] == "arcface"
    assert "quality" not in document
    assert set(document["sha256"]) == {"train.rec", "train.idx", "train.csv", "train.lst"}
    assert not Path("emb/.partial").exists()


def test_a_pair_that_normalises_takes_0_to_255(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--model", "arc/model,0", "--side", "8") == 0
    assert "model,0: RGB 8x8, 0..255 (the graph normalises); arcface crops" in capsys.readouterr().err
    np.testing.assert_allclose(embeddings(), dense((pictures() - 127.5) / 128), rtol=1e-4, atol=1e-4)
    made = json.loads(Path("emb/train.json").read_text())["embedding"]
    assert list(made["sha256"]) == ["model-symbol.json", "model-0000.params"]


def unit(vectors: Floats) -> Floats:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--mean", "0", "--std", "255"], lambda data: dense(data / 255)),
        (["--mean", "1,2,3"], lambda data: dense(data - np.array([1, 2, 3]))),
        (["--bgr", "--std", "2,4,8"], lambda data: dense(data[..., ::-1] / np.array([2, 4, 8]))),
        (["--normalise"], lambda data: unit(dense((data - 127.5) / 127.5))),
        (["--flip"], lambda data: dense((data + data[:, :, ::-1]) / 2 / 127.5 - 1)),
    ],
)
def test_what_goes_in_can_be_said(work: Path, flags: list[str], expected: Callable[[Floats], Floats]) -> None:
    assert run("--model", "recogniser.onnx", *flags) == 0
    np.testing.assert_allclose(embeddings(), expected(pictures().astype(float)), rtol=2e-4, atol=1e-3)


def test_a_run_goes_on_where_it_was_killed(
    work: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--model", "recogniser.onnx", "--batch_size", "2"]
    assert run(*flags) == 0
    whole = {path.name: path.read_bytes() for path in Path("emb").iterdir()}
    monkeypatch.setattr(embed, "_NOTE_SECONDS", -1.0)
    done = []
    honest = Embedder.embed

    def killed(self: Embedder, crops: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        if len(done) == 3:
            raise KeyboardInterrupt
        done.append(len(crops))
        return honest(self, crops)

    monkeypatch.setattr(Embedder, "embed", killed)
    assert run(*flags, "--overwrite") == 130
    assert {path.name: path.read_bytes() for path in Path("emb").iterdir() if path.is_file()} == whole
    later: list[int] = []
    monkeypatch.setattr(Embedder, "embed", lambda self, crops: (later.append(len(crops)), honest(self, crops))[1])
    assert run(*flags, "--resume", "--overwrite") == 0
    # There already, as the first run made it; the interrupted one is not needed.
    assert later == []
    assert "emb/train.rec: there already" in capsys.readouterr().out
    for path in Path("emb").glob("train.*"):
        path.unlink()
    assert run(*flags, "--resume") == 0
    assert later == [2, 2, 1]
    assert {path.name: path.read_bytes() for path in Path("emb").iterdir()} == whole
    assert run(*flags) == 2
    assert "emb/train.rec is there already; --overwrite replaces it" in capsys.readouterr().err
    assert run(*flags, "--normalise", "--resume", "--overwrite") == 0


def test_bad_records(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_pictures(Path("set/train.rec"), template="arcface", bodies={4: b"no picture", 10: b"neither"})
    assert run("--model", "recogniser.onnx") == 1
    assert "set/train.rec: record 14: body of 10 bytes is no image" in capsys.readouterr().err
    assert run("--model", "recogniser.onnx", "--bad_records", "skip") == 1
    error = capsys.readouterr().err
    assert "left out: 2 (the first: set/train.rec: record 14: body of 10 bytes is no image" in error
    left = [key for key in KEYS if key not in (14, 32)]
    with open_records("emb/train.rec") as records:
        assert records.keys.tolist() == left
    with Path("emb/train.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(int(row["key"]), row["path"]) for row in rows] == [(key, f"女,{key}.jpg") for key in left]
    assert len(Path("emb/train.lst").read_text().splitlines()) == len(left)
    document = json.loads(Path("emb/train.json").read_text())
    assert (document["records"], document["sources"]) == (9, {"a": 5, "b": 4})


def test_crops_in_another_template(work: Path, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    photo = cv2.cvtColor(cv2.imread(str(root / "test.jpg")), cv2.COLOR_BGR2RGB)
    face = simplejpeg.encode_jpeg(np.ascontiguousarray(photo[0:390, 560:910]), quality=95)
    write_pictures(Path("set/train.rec"), template="utkface", bodies={0: face})
    assert run("--model", "recogniser.onnx") == 2
    error = capsys.readouterr().err
    assert "set/train.rec is in the crop template 'utkface', the model wants 'arcface'" in error
    assert "create_dataset.py --template arcface packs the photos for it, --recrop warps" in error
    assert run("--model", "recogniser.onnx", "--as_is") == 0
    assert "taken as they are, though the crop template is 'utkface'" in capsys.readouterr().err
    document = json.loads(Path("emb/train.json").read_text())
    assert (document["template"]["name"], document["embedding"]["crops"]) == ("utkface", "as they are")
    assert len(embeddings()) == COUNT
    assert run("--model", "recogniser.onnx", "--recrop", "--overwrite") == 1
    assert "left out: 10 (the first: set/train.rec: record 5" in capsys.readouterr().err
    document = json.loads(Path("emb/train.json").read_text())
    assert (document["template"]["name"], document["records"]) == ("arcface", 1)
    assert document["embedding"]["crops"] == "found and warped anew"
    assert Path("emb/train.csv").read_text(encoding="utf-8").count("\n") == 2


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        ([], "--model is missing: the face recogniser"),
        (["--model", "none.onnx"], "none.onnx does not exist"),
        (["--model", "recogniser.onnx", "--data", "no.rec"], "--data no.rec is not there"),
        (["--model", "recogniser.onnx", "--output", "set"], "--output set would overwrite set/train.rec"),
        (["--model", "recogniser.onnx", "--side", "9"], "--side 9: the model takes 8x8 and nothing else"),
        (["--model", "recogniser.onnx", "--std", "0"], "--std 0,0,0: a deviation is larger than 0"),
        (["--model", "recogniser.onnx", "--mean", "1,2"], "--mean takes one number or three"),
        (["--model", "recogniser.onnx", "--recrop", "--as_is"], "give one of the two"),
        (["--model", "recogniser.onnx", "--engine", "torch"], "--engine torch can't run recogniser.onnx"),
        (
            ["--model", "recogniser.onnx", "--embedding_output", "x"],
            "recogniser.onnx has no such output (it has fc1_ou",
        ),
        (["--model", "ssrnet", "--template", "arcface"], "the model was trained on 'utkface' crops, not on 'arcface'"),
        (["--model", "recogniser.onnx", "--batch_size", "0"], "--batch_size 0 is not 1 or more"),
    ],
)
def test_what_can_not_be_is_one_line(
    work: Path, capsys: pytest.CaptureFixture[str], flags: list[str], line: str
) -> None:
    assert run(*flags) in (1, 2)
    error = capsys.readouterr().err
    assert line in error
    assert not Path("emb").exists()


def test_embeddings_of_embeddings_are_refused(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--model", "recogniser.onnx") == 0
    flags = ["--data", "emb/train.rec", "--output", "twice", "--model", "recogniser.onnx"]
    assert main(["embed", *flags]) == 1
    assert "emb/train.json: the records hold embeddings (float32), not pictures" in capsys.readouterr().err
