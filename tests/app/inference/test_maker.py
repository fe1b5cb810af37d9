"""infer.py --resume goes on with the file of the same model, and with no other."""

from __future__ import annotations

import csv
import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from agegender.app.cli import run_command
from agegender.app.inference.maker import Maker, maker_path
from agegender.errors import DataError
from agegender.face.photo import write_photo
from agegender.graph.lookup import MODELS_VARIABLE


@pytest.fixture(autouse=True)
def _two_models_and_two_photos(untrained_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`mine` and `other`, of other weights, can be called by name; the photos are crops."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(MODELS_VARIABLE, "models")
    for name in ("mine", "other"):
        Path("models", name).mkdir(parents=True)
        for path in untrained_model.parent.iterdir():
            shutil.copy(path, Path("models", name, path.name.replace("model", name)))
    weights = Path("models/other/other-0001.params")
    data = bytearray(weights.read_bytes())
    # The last bytes of the first array's values differ: another model that loads all the same.
    data[200] ^= 1
    weights.write_bytes(data)
    Path("photos").mkdir()
    add_photo(1)


def add_photo(number: int) -> None:
    pixels = np.random.default_rng(number).integers(0, 255, (40, 40, 3), np.uint8)
    write_photo(Path("photos", f"{number}.png"), pixels)


def infer(*flags: str, code: int = 0) -> None:
    common = ["--image", "photos", "--output", "none", "--detector", "none", "--gpu_ids", "cpu", "--lang", "en"]
    assert run_command("infer", [*common, *flags], prog="infer.py") == code


def photos_in(table: str) -> list[str]:
    with open(table, encoding="utf-8", newline="") as file:
        return [Path(row["image"]).name for row in csv.DictReader(file)]


@pytest.mark.parametrize("flags", [("--csv", "faces.csv"), ("--json", "faces.jsonl")])
def test_another_model_is_refused_and_the_file_left_alone(
    flags: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    infer("--model", "mine", *flags)
    add_photo(2)
    before = Path(flags[1]).read_bytes()
    infer("--model", "other", *flags, "--resume", code=2)
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"infer.py: error: {flags[1]} was written with --model mine,1, and this run has --model other,1; --resume "
        "mixes no models: give --model mine,1, or name another file"
    )
    assert Path(flags[1]).read_bytes() == before
    infer("--model", "mine,1", *flags, "--resume")
    assert len(Path(flags[1]).read_text().splitlines()) == len(before.splitlines()) + 1
    # Without --resume the file is the other model's from then on.
    infer("--model", "other", *flags)
    infer("--model", "other", *flags, "--resume")
    infer("--model", "mine", *flags, "--resume", code=2)
    assert f"{flags[1]} was written with --model other,1, and" in capsys.readouterr().err


def test_it_is_the_weights_that_count_not_the_name(capsys: pytest.CaptureFixture[str]) -> None:
    infer("--model", "mine", "--csv", "faces.csv")
    add_photo(2)
    shutil.copytree("models/mine", "elsewhere")
    infer("--model", "elsewhere", "--csv", "faces.csv", "--resume")
    assert photos_in("faces.csv") == ["1.png", "2.png"]
    shutil.copy("models/other/other-0001.params", "models/mine/mine-0001.params")
    infer("--model", "mine", "--csv", "faces.csv", "--resume", code=2)
    assert capsys.readouterr().err.splitlines()[-1] == (
        "infer.py: error: faces.csv was written with --model mine,1, whose weights were others then; --resume mixes no "
        "models: name another file"
    )


def test_a_pair_is_another_model_than_one(capsys: pytest.CaptureFixture[str]) -> None:
    pair = ("--age_model", "mine", "--gender_model", "other")
    infer(*pair, "--csv", "faces.csv")
    infer(*pair, "--csv", "faces.csv", "--resume")
    infer("--model", "mine", "--csv", "faces.csv", "--resume", code=2)
    assert "faces.csv was written with --age_model mine,1 --gender_model other,1, and" in capsys.readouterr().err
    infer("--age_model", "other", "--gender_model", "mine", "--csv", "faces.csv", "--resume", code=2)


def test_what_stands_beside_the_file(tmp_path: Path) -> None:
    infer("--model", "models/mine/mine", "--csv", "faces.csv")
    digest = hashlib.sha256(Path("models/mine/mine-0001.params").read_bytes()).hexdigest()
    assert json.loads(Path("faces.csv.model.json").read_text(encoding="utf-8")) == {
        "format": 1,
        "models": {"model": {"name": "models/mine/mine,1", "sha256": digest}},
    }
    Path("faces.csv.model.json").write_text("[]", encoding="utf-8")
    infer("--model", "models/mine/mine", "--csv", "faces.csv", "--resume", code=1)


def test_a_file_from_before_goes_on(capsys: pytest.CaptureFixture[str]) -> None:
    infer("--model", "mine", "--csv", "faces.csv")
    maker_path(Path("faces.csv")).unlink()
    add_photo(2)
    infer("--model", "other", "--csv", "faces.csv", "--resume")
    assert photos_in("faces.csv") == ["1.png", "2.png"]
    # Two models wrote it: nothing is said that is half true.
    assert not maker_path(Path("faces.csv")).exists()


@pytest.mark.quick
def test_what_is_damaged_is_one_line(tmp_path: Path) -> None:
    maker = Maker(names={"model": "my model,1"}, digests={"model": "ab"})
    assert maker.flags == "--model 'my model,1'"
    results = tmp_path / "faces.csv"
    maker.note(results)
    maker.check(results)
    for text in ("", "{}", "[]", '{"models": {"model": {"name": "m50"}}}', '{"models": []}', "\udcff"):
        maker_path(results).write_text(text, encoding="utf-8", errors="surrogateescape")
        with pytest.raises(DataError) as caught:
            maker.check(results)
        assert str(caught.value) == (
            f"{results}.model.json doesn't say which model wrote faces.csv; without this file --resume goes on "
            "unchecked"
        )
