"""configs/: every preset is read by its command's own parser and builds the network it names."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from agegender.app.cli import command_parser, main
from agegender.app.networks import build_network
from agegender.config import as_json, collect
from agegender.engine.config import TrainConfig
from agegender.graph import Graph, read_info
from agegender.pipeline.config import LoaderConfig
from tools import cross_validate

ROOT = Path(__file__).resolve().parents[1]
PRESETS = sorted((ROOT / "configs").glob("*.yaml"))
# What the issue of presets asks for.
PUBLISHED = {"ssrnet", "r50-sgd", "adience-mlp", "swin-s-mse"}
# Where a run lies, what it says and what it runs on: nothing that a recipe decides.
PLACES = ("prefix", "pretrained", "frequent", "tensorboard", "engine", "kvstore", "loader_threads")


def flags_of(preset: Path) -> tuple[TrainConfig, LoaderConfig]:
    """Return what a preset makes of train.py's flags, by the real parsers."""
    if yaml.safe_load(preset.read_text())["command"] == "train":
        args = command_parser("train", prog="train.py").parse_args(["--config", str(preset)])
    else:
        _, rest = cross_validate._parser().parse_known_args(["--config", str(preset)])
        args = cross_validate._train_parser().parse_args(rest)
    return collect(TrainConfig, args), collect(LoaderConfig, args)


def test_the_published_recipes_are_there() -> None:
    assert {preset.stem for preset in PRESETS} >= PUBLISHED


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_a_preset_builds_its_network(preset: Path) -> None:
    config, _ = flags_of(preset)
    written = yaml.safe_load(preset.read_text())
    assert config.network == written["network"]
    network = build_network(config)
    assert network.config.lr == float(written["lr"])
    outputs = set(Graph.from_json(network.graph_json).outputs())
    assert "gender_softmax_output" in outputs or config.task == "age"
    assert any(name.startswith("age") for name in outputs)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_a_preset_says_where_it_comes_from_and_what_to_compare(preset: Path) -> None:
    text = preset.read_text()
    comment = " ".join(line[2:] for line in text.splitlines() if line.startswith("#"))
    assert re.search(r"\b(19|20)\d\d\b|github\.com/|models/\w+/README\.md|their pages", comment)
    assert "To compare" in comment or "second one" in comment


@pytest.mark.parametrize(
    ("model", "preset"), [("ssrnet", "shipped-ssrnet"), ("m50", "shipped-m50"), ("lite0", "shipped-lite0")]
)
def test_shipped_models_were_trained_by_their_presets(model: str, preset: str) -> None:
    """The configuration that a shipped checkpoint carries is the preset's, flag by flag."""
    config, augmentation = flags_of(ROOT / "configs" / f"{preset}.yaml")
    now = json.loads(json.dumps({**as_json(build_network(config).config), **as_json(augmentation)}))
    info = read_info(ROOT / "models" / model / model)
    assert info is not None
    different = {
        name: (value, now.get(name))
        for name, value in info.config.items()
        if name in now
        and name not in PLACES
        and now[name] != value
        and not (name == "backbone_lr" and value in (None, 1.0))
    }
    assert different == {}


@pytest.mark.parametrize(
    ("model", "presets"),
    [
        ("ssrnet", ["shipped-ssrnet"]),
        ("m50", ["shipped-m50-64", "shipped-m50", "shipped-m50-b", "shipped-m50-c", "shipped-m50-d"]),
        ("lite0", ["shipped-lite0-97", "shipped-lite0", "shipped-lite0-b"]),
    ],
)
def test_cards_and_presets_say_the_same(model: str, presets: list[str]) -> None:
    """The commands on a model's card, parsed, are what the presets are."""
    card = (ROOT / "models" / model / "README.md").read_text(encoding="utf-8").replace("\\\n", " ")
    commands = [shlex.split(line) for line in card.splitlines() if line.strip().startswith("python train.py")]
    parsed = [
        collect(TrainConfig, command_parser("train", prog="train.py").parse_args(words[2:])) for words in commands
    ]
    assert [flags_of(ROOT / "configs" / f"{preset}.yaml")[0] for preset in presets] == parsed


def test_a_run_is_trained_again_by_what_it_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """--config preset, flags on top; then run.yaml alone: the same checkpoint, bit for bit."""
    monkeypatch.chdir(tmp_path)
    assert main(["pack", "--synthetic", "24", "--val_ratio", "0.2", "--output", "dataset", "--image_size", "64"]) == 0
    preset = str(ROOT / "configs" / "shipped-ssrnet.yaml")
    short = ["--end_epoch", "1", "--batch_size", "8", "--engine", "mxnet"]
    assert main(["train", "--config", preset, *short]) == 0
    run = tmp_path / "runs" / "ssrnet"
    params, config = (run / "model-0001.params").read_bytes(), json.loads((run / "config.json").read_text())
    written: dict[str, Any] = yaml.safe_load((run / "run.yaml").read_text())
    assert (written["lr"], written["batch_size"], written["ema"]) == (0.002, 8, 0.999)
    assert main(["train", "--config", "runs/ssrnet/run.yaml"]) == 0
    assert (run / "model-0001.params").read_bytes() == params
    assert json.loads((run / "config.json").read_text()) == config
    assert (run / "earlier-1" / "model-0001.params").read_bytes() == params
    # And the file goes on with its run, of which the command line says more epochs.
    capsys.readouterr()
    assert main(["train", "--config", "runs/ssrnet/run.yaml", "--resume", "--end_epoch", "2"]) == 0
    assert "runs/ssrnet/model,2" in capsys.readouterr().out
    assert yaml.safe_load((run / "run.yaml").read_text())["end_epoch"] == 2
    assert "resume" not in yaml.safe_load((run / "run.yaml").read_text())
    # A file that resumes is overruled in the same way.
    (tmp_path / "resume.yaml").write_text("resume: yes\n")
    assert command_parser("train", prog="t").parse_args(["--config", "resume.yaml", "--resume", "0"]).resume is False


def test_the_page_lists_every_preset_and_its_links_exist() -> None:
    page = ROOT / "docs" / "configuration.md"
    targets = re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8"))
    assert {Path(target).stem for target in targets if target.endswith(".yaml")} == {path.stem for path in PRESETS}
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_the_page_s_own_file_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (ROOT / "docs" / "configuration.md").read_text(encoding="utf-8")
    block = re.search(r"```yaml\n(.*?)```", text, flags=re.DOTALL)
    assert block is not None
    file = tmp_path / "mine.yaml"
    file.write_text(block[1])
    args = command_parser("train", prog="train.py").parse_args(["--config", str(file), "--lr", "5e-4"])
    assert (args.lr, args.lr_steps, args.rand_mirror, args.gpu_ids) == (5e-4, (30.0, 60.0), False, "0,1")
    file.write_text(block[1].replace("network: ssrnet", "bacth_size: 3"))
    with pytest.raises(SystemExit):
        command_parser("train", prog="train.py").parse_args(["--config", str(file)])
    said = capsys.readouterr().err.replace(str(file), "mine.yaml")
    assert said.strip() in text
