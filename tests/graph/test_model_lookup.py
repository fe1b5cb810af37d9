"""What a user may call a model."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from agegender.errors import UsageError
from agegender.graph import ModelOrigin, find_model, lookup
from agegender.graph.lookup import known_models

pytestmark = pytest.mark.quick


def model(prefix: Path, *, epochs: tuple[int, ...] = (1,), when: float | None = None) -> Path:
    prefix.parent.mkdir(parents=True, exist_ok=True)
    prefix.with_name(f"{prefix.name}-symbol.json").write_text("{}")
    for epoch in epochs:
        path = prefix.with_name(f"{prefix.name}-{epoch:04d}.params")
        path.write_bytes(b"")
        if when is not None:
            os.utime(path, (when, when))
    return prefix


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the models `ssrnet` and `m50`, the only ones there are, and a working folder beside it."""
    folder = tmp_path / "models"
    for name in ("ssrnet", "m50"):
        model(folder / name / name)
    (folder / "mtcnn").mkdir()
    monkeypatch.setattr(lookup, "model_folders", lambda: iter([folder]))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return folder


@pytest.mark.parametrize(
    ("name", "prefix", "epoch"),
    [
        ("runs/m50/model,7", "runs/m50/model", 7),
        ("runs/m50/model,0007", "runs/m50/model", 7),
        ("runs/m50/model,best", "runs/m50/model", "best"),
        ("runs/m50/model, last", "runs/m50/model", "last"),
        ("runs/m50/model", "runs/m50/model", None),
        ("runs/m50", "runs/m50/model", None),
        ("runs/m50/", "runs/m50/model", None),
        ("runs/m50,3", "runs/m50/model", 3),
        ("runs/m50/model-0007.params", "runs/m50/model", 7),
        ("runs/m50/model-0007.params,2", "runs/m50/model", 2),
        ("runs/m50/model-symbol.json", "runs/m50/model", None),
        ("old,comma/model,4", "old,comma/model", 4),
    ],
)
def test_paths(models: Path, name: str, prefix: str, epoch: int | str | None) -> None:
    model(Path("runs/m50/model"), epochs=(7,))
    model(Path("old,comma/model"))
    found = find_model(name)
    assert (found.prefix, found.epoch) == (Path(prefix), epoch)
    assert found.origin == ModelOrigin(kind="path", place=name.rpartition(",")[0] or name)


def test_names(models: Path) -> None:
    assert find_model("m50").prefix == models / "m50" / "m50"
    assert find_model("m50,best").epoch == "best"
    assert find_model("m50").origin == ModelOrigin(kind="name", name="m50", place=str(models))
    assert sorted(known_models()) == ["m50", "ssrnet"]


def test_a_folder_of_that_name_without_a_model_does_not_hide_the_model(models: Path) -> None:
    Path("m50").mkdir()
    assert find_model("m50").prefix == models / "m50" / "m50"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("srnet", r"there is no model 'srnet'; did you mean 'ssrnet'\?: .*\(models here: m50, ssrnet\)$"),
        (
            "runs/x/model,3",
            r"there is no model 'runs/x/model': no file runs/x/model-symbol\.json, and no model of that",
        ),
        ("m50,first", r"the epoch in 'm50,first' is 'first', neither a number nor best nor last"),
        ("several", r"several holds several models \(a, b\); say which: several/NAME"),
    ],
)
def test_what_is_not_there(models: Path, name: str, expected: str) -> None:
    for each in "ab":
        model(Path("several") / each)
    with pytest.raises(UsageError, match=expected):
        find_model(name)


def test_without_a_name_it_is_the_newest_run_that_has_parameters(models: Path) -> None:
    model(Path("runs/m50/model"), epochs=(1, 2), when=1000)
    model(Path("runs/ssrnet/model"), epochs=(1,), when=2000)
    model(Path("runs/r50/model"), epochs=())
    found = find_model()
    assert (found.prefix, found.epoch) == (Path("runs/ssrnet/model"), None)
    assert found.origin == ModelOrigin(kind="run", place="runs")
    model(Path("runs/m50/model"), epochs=(3,), when=3000)
    assert find_model().prefix == Path("runs/m50/model")


def test_the_newest_run_is_one_that_takes_what_there_is_and_has_learned(models: Path) -> None:
    model(Path("runs/m50/model"), when=1000)
    model(Path("runs/mlp/model"), when=2000)
    Path("runs/mlp/model.json").write_text('{"format": 1, "input": {"shape": [512, 1, 1]}}', encoding="utf-8")
    # A backbone that was converted: nothing of age and gender is in it.
    model(Path("runs/imagenet/model"), epochs=(0,), when=3000)
    assert find_model().prefix == Path("runs/mlp/model")
    assert find_model(takes="embeddings").prefix == Path("runs/mlp/model")
    assert find_model(takes="photos").prefix == Path("runs/m50/model")
    assert find_model("runs/imagenet", takes="photos").prefix == Path("runs/imagenet/model")


def test_a_fold_is_no_run(models: Path) -> None:
    plan = Path("runs/cross_validation/folds.json")
    fold = model(Path("runs/cross_validation/seed-0/fold-1/model"), when=2000)
    model(Path("runs/cross_validation_of_mine/model"), when=1000)
    assert find_model().prefix == fold  # nothing says yet that it is one
    plan.write_text("{}", encoding="utf-8")
    assert find_model().prefix == Path("runs/cross_validation_of_mine/model")
    assert find_model(str(fold)).prefix == fold
    assert find_model(runs="runs/cross_validation").origin == ModelOrigin(kind="shipped", name="m50")


def test_without_a_name_and_a_run_it_is_the_shipped_model(models: Path) -> None:
    found = find_model(runs="runs")
    assert found.prefix == models / "m50" / "m50"
    assert found.origin == ModelOrigin(kind="shipped", name="m50")


def test_without_anything_it_says_where_it_looked(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lookup, "model_folders", lambda: iter([Path("/nowhere")]))
    with pytest.raises(UsageError, match="nothing was trained in runs, and no 'm50' lies in /nowhere"):
        find_model()


def test_the_users_folders_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: Path) -> None:
    for place in ("a", "b"):
        model(tmp_path / place / "ssrnet" / "ssrnet")
    model(tmp_path / "b" / "mine" / "mine")
    monkeypatch.setenv("AGEGENDER_MODELS", os.pathsep.join([str(tmp_path / "a"), "", str(tmp_path / "b")]))
    found = known_models()
    assert found["ssrnet"] == tmp_path / "a" / "ssrnet" / "ssrnet"
    assert found["mine"] == tmp_path / "b" / "mine" / "mine"
    assert root / "models" in list(lookup.model_folders())


def test_a_run_of_that_name_is_suggested(tmp_path: Path) -> None:
    (tmp_path / "runs" / "r50").mkdir(parents=True)
    (tmp_path / "runs" / "r50" / "model-symbol.json").write_text("{}")
    with pytest.raises(UsageError, match=rf"no model 'r50'; did you mean '{tmp_path}/runs/r50/model'\?"):
        find_model("r50", runs=tmp_path / "runs")
