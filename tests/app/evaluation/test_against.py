"""eval.py --against: insightface's own reading of a generated net of genderage's layout is the oracle."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agegender.app.cli import main
from agegender.app.evaluation.against import GenderAge, box_of, find_genderage
from agegender.dataset.sources.synthetic import synthetic_sample
from agegender.deploy.insightface_task import POINTS_IN_BOX
from agegender.errors import CheckpointError, UsageError
from agegender.face.photo import decode_jpeg, encode_jpeg, read_photo
from agegender.face.templates import TEMPLATES, get_template
from agegender.recordio import Header, RecordWriter, pack

FACES = 9


def write_net(path: Path, *, size: int = 96, outputs: int = 3, batch: int | str = "None", mxnet: bool = True) -> Path:
    """Write a net of genderage's layout: (n, 3, 96, 96) to two logits and the age / 100.

    Its first node is called as those of MXNet's exports (pixels go in as they are) unless ``mxnet`` is false.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    # Pooled to 4 x 4, so that place matters as well as colour.
    weight = rng.normal(0, 0.02, (48, outputs)).astype(np.float32)
    bias = np.array([0.3, 0, 0.3, *[0.0] * (outputs - 3)], np.float32)[:outputs]
    spread = (("m", 100), ("v", 2500)) if mxnet else (("m", 0), ("v", 0.2))
    scale = {name: np.full(3, value, np.float32) for name, value in (("g", 1), ("b", 0), *spread)}
    first = helper.make_node("BatchNormalization", ["data", "g", "b", "m", "v"], ["n"], "bn_data" if mxnet else "first")
    nodes = [
        first,
        helper.make_node("AveragePool", ["n"], ["p"], kernel_shape=[size // 4] * 2, strides=[size // 4] * 2),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("Gemm", ["f", "w", "c"], ["fc1"]),
    ]
    graph = helper.make_graph(
        nodes,
        "genderage",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, [batch, 3, size, size])],
        [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [batch, outputs])],
        [numpy_helper.from_array(value, name) for name, value in {**scale, "w": weight, "c": bias}.items()],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=6), str(path))
    return path


@pytest.fixture(scope="module")
def bodies() -> list[bytes]:
    images = (synthetic_sample(index).image for index in range(FACES))
    return [encode_jpeg(image) for image in images if image is not None]


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    Path("dataset").mkdir()


def write_set(bodies: list[bytes], *, template: str | None = "utkface") -> str:
    path = Path("dataset") / "test.rec"
    with RecordWriter(path) as writer:
        for number, body in enumerate(bodies):
            writer.write(number, pack(Header(np.array([number % 2, 10 * number], np.float32), number), body))
    if template:
        text: dict[str, Any] = {"format": 1, "split": "test", "records": len(bodies), "labels": "gender,age"}
        text["template"] = get_template(template).to_json(112)
        path.with_suffix(".json").write_text(json.dumps(text), encoding="utf-8")
    return str(path)


def insightface_s_own(path: Path, image: Any, box: Any) -> tuple[int, int]:
    """Return gender and age as insightface itself tells them of a photo (h, w, 3) RGB."""
    from insightface.app.common import Face
    from insightface.model_zoo.attribute import Attribute

    net = Attribute(model_file=str(path))
    gender, age = net.get(np.ascontiguousarray(image[..., ::-1]), Face(bbox=np.asarray(box, np.float32)))
    return int(gender), int(age)


@pytest.mark.parametrize(("batch", "mxnet"), [("None", True), (1, True), ("None", False)])
def test_our_reading_is_insightface_s(batch: int | str, mxnet: bool, root: Path) -> None:
    path = write_net(Path("net.onnx"), batch=batch, mxnet=mxnet)
    net = GenderAge(path, gpu_ids="cpu")
    assert (net.size, net.batch) == (96, 1 if batch == 1 else 64)
    image = read_photo(root / "test.jpg")
    boxes = [(663, 95, 814, 291), (181, 59, 269, 176), (-20, -30, 90, 70), (0.5, 0.25, 33.5, 60)]
    windows = [net.window(image, np.array(box, np.float64))[0] for box in boxes]
    if net.batch == 1:
        male, age = (np.concatenate(found) for found in zip(*[net.read([window]) for window in windows]))
    else:
        male, age = net.read(windows)
    for box, sex, years in zip(boxes, male, age):
        assert insightface_s_own(path, image, box) == (int(sex > 0.5), int(np.round(years)))
    assert len({round(years) for years in age.tolist()}) > 1


def test_the_window_tells_how_much_of_it_is_outside() -> None:
    net = GenderAge(write_net(Path("net.onnx")), gpu_ids="cpu")
    image = np.full((100, 100, 3), 200, np.uint8)
    inside, none = net.window(image, np.array([30.0, 30, 70, 70]))
    assert none == 0 and inside.min() == 200
    # A box as large as the image: a window of 150 pixels around it.
    outer, share = net.window(image, np.array([0.0, 0, 100, 100]))
    assert share == pytest.approx(1 - 100**2 / 150**2)
    assert (outer == 0).mean() == pytest.approx(share, abs=0.02)


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_box_of_a_template_puts_the_points_where_they_are(name: str) -> None:
    box = box_of(get_template(name), 112)
    assert (box[2:] > box[:2]).all()
    placed = box[:2] + POINTS_IN_BOX * (box[2:] - box[:2])
    points = get_template(name).pixels(112)
    # Least squares: nothing is left on average, and single points are a few pixels off.
    np.testing.assert_allclose((placed - points).mean(axis=0), 0, atol=1e-4)
    assert np.abs(placed - points).max() < 6


def test_records_are_compared_with_insightface_s_own_answers(
    bodies: list[bytes], untrained_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_net(Path("home/.insightface/models/buffalo_l/genderage.onnx"))
    write_net(Path("home/.insightface/models/antelope/genderage.onnx"))
    assert find_genderage("insightface") == Path("home/.insightface/models/buffalo_l/genderage.onnx").absolute()
    data = write_set(bodies)
    arguments = ["eval", "--model", str(untrained_model), "--data", data, "--gpu_ids", "cpu"]
    assert main([*arguments, "--against", "insightface", "--csv", "t.csv"]) == 0
    output = capsys.readouterr().out
    assert f"A: {untrained_model}\nB: " in output
    assert "genderage.onnx looks at a window of which 67% lies beyond the images" in output
    with open("t.csv", encoding="utf-8", newline="") as file:
        rows = {row["figure"]: row for row in csv.DictReader(file) if not row["column"]}
    box = box_of(get_template("utkface"), 112)
    told = [insightface_s_own(path, decode_jpeg(body), box) for body in bodies]
    right = np.mean([gender == number % 2 for number, (gender, _) in enumerate(told)])
    years = np.mean([abs(age - 10 * number) for number, (_, age) in enumerate(told)])
    assert float(rows["acc"]["b"]) == pytest.approx(right)
    assert float(rows["MAE"]["b"]) == pytest.approx(years, abs=0.5)  # theirs is rounded
    assert rows["MAE"]["n"] == str(FACES)
    # The set that names no template is taken for the model's, as eval does.
    Path(data).with_suffix(".json").unlink()
    assert main([*arguments, "--against", str(path.parent), "--csv", "u.csv"]) == 0
    with open("u.csv", encoding="utf-8", newline="") as file:
        again = {row["figure"]: row for row in csv.DictReader(file) if not row["column"]}
    assert again["MAE"]["b"] == rows["MAE"]["b"]


def test_photos_are_searched_for_their_face(
    root: Path, untrained_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from agegender.dataset.crop import find_face
    from agegender.deploy.mtcnn import open_mtcnn

    path = write_net(Path("net.onnx"))
    Path("faces.csv").write_text(f"path,gender,age\n{root / 'test.jpg'},0,77\n", encoding="utf-8")
    arguments = ["--model", str(untrained_model), "--data", "faces.csv", "--gpu_ids", "cpu"]
    assert main(["eval", *arguments, "--against", "net.onnx", "--csv", "t.json"]) == 0
    output = capsys.readouterr().out
    rows = {row["figure"]: row for row in json.loads(Path("t.json").read_text())["rows"]}
    image = read_photo(root / "test.jpg")
    found = find_face(image, open_mtcnn(min_face=20), min_face=20)
    assert found is not None
    gender, age = insightface_s_own(path, image, found.box)
    assert rows["acc"]["b"] == (gender == 0)
    assert rows["MAE"]["b"] == pytest.approx(abs(age - 77), abs=0.5)
    assert "too few" in output


def test_what_is_missing_or_wrong_is_said(
    bodies: list[bytes], untrained_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write_set(bodies)
    arguments = ["eval", "--model", str(untrained_model), "--data", data]
    assert main([*arguments, "--against", "insightface"]) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("agegender eval: error: --against insightface: there is no genderage.onnx in ")
    assert "https://github.com/deepinsight/insightface" in error
    assert "non-commercial research only" in error
    with pytest.raises(UsageError, match=r"--against none\.onnx: none\.onnx does not exist"):
        find_genderage("none.onnx")
    assert main([*arguments, "--against", str(write_net(Path("net.onnx"))), "--csv", "net.onnx"]) == 2
    assert "--csv 'net.onnx' would overwrite 'net.onnx', which is compared" in capsys.readouterr().err
    for path in (write_net(Path("five.onnx"), outputs=5), Path("text.onnx")):
        if not path.exists():
            path.write_text("no net")
        with pytest.raises(CheckpointError, match=path.name):
            GenderAge(path, gpu_ids="cpu")
