"""Two nets of one output each, as separate networks were always trained: train, eval, export, infer as a pair."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from agegender.app.cli import main
from agegender.face.photo import encode_jpeg, read_photo, write_photo
from agegender.face.templates import get_template
from agegender.graph import load_checkpoint, read_info
from agegender.recordio import Header, RecordWriter, pack

HEADS = {"age": "ssr", "gender": "dex"}
ENGINES = {"age": "mxnet", "gender": "torch"}


@pytest.fixture(scope="module")
def house(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixteen shifted crops of a face with labels, and one that nobody trained on."""
    folder = tmp_path_factory.mktemp("house")
    photo = read_photo(root / "test.jpg")
    for split, count in (("train", 16), ("val", 4)):
        with RecordWriter(folder / f"{split}.rec") as writer:
            for key in range(count):
                face = np.ascontiguousarray(photo[60 + key : 172 + key, 160:272])
                label = np.array([key % 2, 3 * key], np.float32)
                writer.write(key, pack(Header(label, key), encode_jpeg(face)))
        info = {"format": 1, "split": split, "records": count, "template": get_template("utkface").to_json(112)}
        (folder / f"{split}.json").write_text(json.dumps(info | {"labels": "gender,age", "body": "jpeg"}))
    write_photo(folder / "crop.png", np.ascontiguousarray(photo[70:190, 150:270]))
    return folder


def train(house: Path, task: str, *flags: str) -> int:
    words = ["--network", "ssrnet", "--head", HEADS[task], "--task", task, "--engine", ENGINES[task]]
    words += ["--data_dir", str(house), "--prefix", str(house / task / "model"), "--gpu_ids", "cpu"]
    return main(["train", *words, "--batch_size", "8", *flags])


@pytest.fixture(scope="module")
def models(house: Path) -> dict[str, str]:
    """A net for each task, resumed after its first epoch."""
    for task in HEADS:
        assert train(house, task, "--end_epoch", "1") == 0
        assert train(house, task, "--end_epoch", "2", "--resume") == 0
    return {task: str(house / task / "model") for task in HEADS}


def test_each_file_has_that_output_alone(models: dict[str, str]) -> None:
    age, gender = (load_checkpoint(models[task], 2) for task in ("age", "gender"))
    assert age.graph.outputs() == ["age_output"]
    assert gender.graph.outputs() == ["fc1_output", "gender_softmax_output"]
    assert sum(array.size for name, array in age.params.items() if name.startswith("arg:")) == 44_253
    assert sum(array.size for name, array in gender.params.items() if name.startswith("arg:")) == 88_114
    for task, net in (("age", age), ("gender", gender)):
        info = read_info(models[task])
        assert info is not None and (info.task, info.network, info.head) == (task, "ssrnet", HEADS[task])
        assert set(net.params) == set(net.graph.parameters())


def test_they_are_scored_and_infer_as_a_pair(
    house: Path, models: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for task, other in (("age", "gender"), ("gender", "age")):
        flags = ["--model", models[task], "--data", str(house / "val.rec"), "--gpu_ids", "cpu", "--lang", "en"]
        assert main(["eval", *flags]) == 0
        said = capsys.readouterr().out
        assert "faces: 4 (4 with gender, 4 with age)\n" in said
        assert f"{other}: the model tells none\n" in said
        assert main(["export", models[task], "--output", str(tmp_path / f"{task}.onnx")]) == 0
    told = []
    pairs = [models, {task: str(tmp_path / f"{task}.onnx") for task in HEADS}]
    for pair in pairs:
        for engine in ("mxnet", "torch", "onnxruntime") if pair is models else ("onnxruntime",):
            capsys.readouterr()
            flags = ["--age_model", pair["age"], "--gender_model", pair["gender"], "--engine", engine, "--json"]
            flags += ["--detector", "none", "--image", str(house / "crop.png"), "--output", "none", "--gpu_ids", "cpu"]
            assert main(["infer", *flags]) == 0
            [face] = json.loads(capsys.readouterr().out)["faces"]
            told.append((face["age"], face["gender"], face["gender_probability"]))
    assert len(told) == 4 and told[0][1] is not None
    for age, gender, probability in told[1:]:
        assert gender == told[0][1] and (age, probability) == pytest.approx((told[0][0], told[0][2]), abs=0.11)


def test_half_of_a_pair_is_told_what_it_lacks(
    house: Path, models: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["--age_model", models["gender"], "--gender_model", models["age"], "--detector", "none"]
    assert main(["infer", *flags, "--image", str(house / "crop.png"), "--output", "none", "--gpu_ids", "cpu"]) == 2
    assert "--age_model: the net of" in capsys.readouterr().err
    flags = ["--model", models["age"], "--mc_dropout", "8", "--detector", "none", "--image", str(house / "crop.png")]
    assert main(["infer", *flags, "--output", "none", "--gpu_ids", "cpu"]) == 2
    assert "model-0002.params is of a network without dropout" in capsys.readouterr().err
