"""The calibration tool: what it fits, prints, stores and refuses, on a real net and on made-up results."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agegender.age_distribution import age_interval
from agegender.app.cli import main as agegender
from agegender.app.evaluation.report import Results
from agegender.calibration import Calibration
from agegender.dataset.sources.synthetic import synthetic_sample
from agegender.errors import CheckpointError, DataError
from agegender.executor import open_executor
from agegender.face.photo import decode_jpeg, encode_jpeg
from agegender.face.templates import get_template
from agegender.files import sha256_file
from agegender.graph.checkpoint import load_checkpoint
from agegender.graph.info import read_info, write_info
from agegender.metrics import expected_age
from agegender.metrics.calibration import expected_calibration_error, interval_coverage
from agegender.recordio import Header, RecordWriter, pack
from agegender.resize import resize_crop
from tools.calibrate import fit, main, store

FACES = 60
BASE = ("models/mine/mine", "--gpu_ids", "cpu")


@pytest.fixture(scope="module")
def bodies() -> list[bytes]:
    images = (synthetic_sample(index).image for index in range(FACES))
    return [encode_jpeg(image) for image in images if image is not None]


@pytest.fixture(scope="module")
def outputs(untrained_model: Path, bodies: list[bytes]) -> dict[str, Any]:
    """What the net says of each face."""
    executor = open_executor(load_checkpoint(untrained_model), gpu_ids="cpu")
    crops = np.stack([resize_crop(decode_jpeg(body), (64, 64)) for body in bodies])
    return executor.forward(crops.transpose(0, 3, 1, 2).astype(np.float32))


@pytest.fixture(scope="module")
def labels(outputs: dict[str, Any]) -> Any:
    """Labels that agree with the random net in most faces, so that there is something to fit."""
    gender = outputs["gender_softmax_output"].argmax(axis=1)
    gender[::5] = 1 - gender[::5]
    age = np.rint(outputs["age_output"][:, 0]) + np.random.default_rng(0).integers(-9, 10, FACES)
    return np.stack([gender, np.clip(age, 0, 100)], axis=1).astype(np.float32)


@pytest.fixture(autouse=True)
def _in_a_folder_with_a_model(untrained_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LC_ALL", "C")
    Path("models/mine").mkdir(parents=True)
    for file in untrained_model.parent.iterdir():
        shutil.copy(file, Path("models/mine") / file.name.replace("model", "mine", 1))


def write_set(bodies: list[bytes], labels: Any, *, path: str = "dataset/val.rec") -> None:
    Path(path).parent.mkdir(exist_ok=True)
    with RecordWriter(Path(path)) as writer:
        for number, (body, label) in enumerate(zip(bodies, labels)):
            writer.write(100 + number, pack(Header(np.asarray(label, np.float32), 100 + number), body))
    described = get_template("utkface").to_json(112)
    text = {"format": 1, "split": "val", "records": len(bodies), "template": described, "labels": "gender,age"}
    Path(path).with_suffix(".json").write_text(json.dumps(text), encoding="utf-8")


def rows_of(text: str) -> dict[str, list[str]]:
    """Return the cells of Markdown tables by the first one, intervals with their share."""
    rows = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        name = f"{cells[0]}, {cells[2]}" if len(cells) == 6 else cells[0]
        rows[name] = cells[1:]
    return rows


def test_it_prints_what_changes_and_stores_it(
    bodies: list[bytes], labels: Any, outputs: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(bodies[:40], labels[:40])
    write_set(bodies[40:], labels[40:], path="dataset/test.rec")
    Path("models/manifest.json").write_text("{}", encoding="utf-8")
    before = Path("models/mine/mine.json").read_bytes()
    assert main([*BASE, "--check", "dataset/test.rec", "--batch_size", "16"]) == 0
    output = capsys.readouterr()
    assert output.err.splitlines()[-1] == "not stored: --write puts it into models/mine/mine.json"
    assert Path("models/mine/mine.json").read_bytes() == before
    assert main([*BASE, "--check", "dataset/test.rec", "--write"]) == 0
    again = capsys.readouterr()
    assert again.out == output.out
    written = again.err.splitlines()[-2:]
    assert [Path(line.removeprefix("written: ")).name for line in written] == ["mine.json", "manifest.json"]

    info = read_info("models/mine/mine")
    assert info is not None
    assert info.calibration["epoch"] == 1
    assert info.calibration["fitted_on"] == {"data": "val.rec", "n_gender": 40, "n_age": 40}
    listed = json.loads(Path("models/manifest.json").read_text(encoding="utf-8"))["files"]
    assert listed["mine/mine.json"]["sha256"] == sha256_file("models/mine/mine.json")
    check_table(rows_of(output.out), Calibration.from_json(info.calibration), labels, outputs)

    assert agegender(["eval", "--model", "models/mine/mine", "--calibration", "--gpu_ids", "cpu"]) == 0
    said = capsys.readouterr().out
    found = re.search(r"^COVERAGE_80=(0\.\d+)", said, re.MULTILINE)
    assert found is not None
    assert f"{float(found[1]):.1%}" == rows_of(output.out)["val, after, 80%"][2]


def check_table(rows: dict[str, list[str]], stored: Calibration, labels: Any, outputs: dict[str, Any]) -> None:
    """Compare the table with the figures of the outputs of a plain forward pass."""
    for name, faces in (("val", slice(0, 40)), ("test", slice(40, None))):
        genders, ages = (outputs[f"{what}_softmax_output"][faces].astype(np.float64) for what in ("gender", "age"))
        gender, age = labels[faces].T
        for when, each in (("before", Calibration()), ("after", stored)):
            error = expected_calibration_error(each.gender(genders), gender)
            assert float(rows[f"{name}, {when}"][1]) == pytest.approx(error, abs=2e-3)
            for share in (0.5, 0.8, 0.9, 0.95):
                ends = each.interval(ages, age=outputs["age_output"][faces], share=share)
                assert ends is not None
                row = rows[f"{name}, {when}, {share:.0%}"]
                assert row[0] == str(len(age))
                assert row[2] == f"{interval_coverage(ends, age):.1%}"
                assert float(row[3]) == pytest.approx(np.mean(ends[:, 1] - ends[:, 0]), abs=0.02)
    for share in (0.5, 0.8, 0.9, 0.95):
        assert float(rows[f"val, after, {share:.0%}"][2].rstrip("%")) >= 100 * share - 1e-9
    sure = stored.gender(outputs["gender_softmax_output"][40:]).max(axis=1)
    for least in (0.5, 0.6, 0.7, 0.8, 0.9):
        assert rows[f"{least:g}"][0] == f"{np.mean(sure >= least):.1%}"


def made_up(**changes: Any) -> Results:
    """Return 400 faces as a net would score them: distributions too narrow, genders too sure."""
    random = np.random.default_rng(2)
    middle = random.uniform(20, 70, 400)
    mass = np.exp(-0.5 * ((np.arange(101) - middle[:, None]) / 2) ** 2)
    mass /= mass.sum(axis=1, keepdims=True)
    logits = random.normal(0, 2, 400)
    labels = np.stack([random.random(400) < 1 / (1 + np.exp(-logits)), np.rint(random.normal(middle, 6))], axis=1)
    values: dict[str, Any] = {
        "rows": np.arange(400),
        "labels": labels.astype(np.float32),
        "male": 1 / (1 + np.exp(-3 * logits)),
        "age": expected_age(mass),
        "ends": {share: age_interval(mass, share=share) for share in (0.5, 0.8, 0.9, 0.95)},
    }
    return Results(**(values | changes))


def test_only_what_the_model_and_the_labels_know_is_fitted() -> None:
    everything = fit(made_up(), epoch=9)
    assert list(everything) == ["epoch", "gender_temperature", "age_shifts"]
    assert everything["gender_temperature"] == pytest.approx(3, rel=0.3)
    # 1.28 times the 4 years by which the distributions are too narrow.
    assert everything["age_shifts"]["0.8"] == pytest.approx(1.28 * 4, abs=1)
    assert Calibration.from_json(everything).to_json() == everything
    assert list(fit(made_up(age=None, ends={}), epoch=9)) == ["epoch", "gender_temperature"]
    assert list(fit(made_up(male=None), epoch=9)) == ["epoch", "age_shifts"]
    residuals = fit(made_up(male=None, ends={}), epoch=9)
    assert list(residuals) == ["epoch", "residual_ages", "residual_widths"]
    assert residuals["residual_widths"]["0.8"] == pytest.approx([1.28 * 6] * 2, abs=1.5)
    labels = made_up().labels
    labels[:, 0] = -1
    assert list(fit(made_up(labels=labels), epoch=9)) == ["epoch", "age_shifts"]
    with pytest.raises(DataError, match="no face has a label of what the model tells, so nothing can be fitted"):
        fit(made_up(labels=labels, age=None, ends={}), epoch=9)


def test_stored_beside_no_manifest_and_without_a_description() -> None:
    assert store(Path("models/mine/mine"), {"gender_temperature": 2.0}) == [Path("models/mine/mine.json")]
    info = read_info("models/mine/mine")
    assert info is not None
    assert (info.calibration, info.network, info.best) == ({"gender_temperature": 2.0}, "ssrnet", 1)
    with pytest.raises(CheckpointError, match=r"none\.json does not exist: there is nothing to store the calibration"):
        store(Path("models/mine/none"), {})


def test_a_model_of_one_task_has_half_the_tables(
    bodies: list[bytes], labels: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(bodies, labels)
    info = read_info("models/mine/mine")
    assert info is not None
    for task, names in (("gender", {"val, before", "val, after"}), ("age", {"val, before, 50%", "val, after, 95%"})):
        info.task = task
        write_info("models/mine/mine", info)
        assert main([*BASE]) == 0
        rows = rows_of(capsys.readouterr().out)
        assert names <= set(rows)
        assert ("0.9" in rows) == (task == "gender")
        assert ("val, before" in rows) == (task == "gender")


def test_a_bad_record_stops_or_is_left_out(
    bodies: list[bytes], labels: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set([*bodies[:30], b"no picture", *bodies[31:]], labels)
    assert main([*BASE]) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.splitlines()[-1].startswith("calibrate.py: error: dataset/val.rec: record 130: body of 10 bytes")
    assert main([*BASE, "--bad_records", "skip"]) == 1
    output = capsys.readouterr()
    assert rows_of(output.out)["val, after"][0] == "59"
    assert "left out: 1 bad records (the first: dataset/val.rec: record 130: " in output.err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--data", "dataset/none.rec"], 2, "dataset/none.rec is not there; --data names another"),
        (["--check", "dataset/../dataset/val.rec"], 2, "--check 'dataset/../dataset/val.rec' is what is fitted on, so"),
        (["--check", "other/val.rec"], 2, "--data 'dataset/val.rec' and --check 'other/val.rec' have the same name"),
        (["--check", "dataset/none.rec"], 2, "dataset/none.rec is not there; --data names another"),
        (["--batch_size", "0"], 2, "--batch_size 0 is not 1 or more"),
        (["--data", "dataset/few.rec"], 1, "5 known ages are too few for the 90% interval: it takes 9"),
    ],
)
def test_what_does_not_fit_is_one_line(
    arguments: list[str],
    code: int,
    message: str,
    bodies: list[bytes],
    labels: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_set(bodies[:30], labels)
    few = labels[:5].copy()
    few[:, 0] = -1
    write_set(bodies[:5], few, path="dataset/few.rec")
    before = Path("models/mine/mine.json").read_bytes()
    assert main([*BASE, "--write", *arguments]) == code
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.splitlines()[-1].startswith(f"calibrate.py: error: {message}")
    assert Path("models/mine/mine.json").read_bytes() == before
