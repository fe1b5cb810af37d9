"""--config: keys are flags, values are read as flags read them, and what is wrong is named with its line."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from agegender.app.cli import COMMANDS, command_parser, run_command
from agegender.app.config_file import LARGEST_BYTES, read_entries
from agegender.app.parser import CommandParser
from agegender.config import as_yaml, collect
from agegender.engine.config import TrainConfig
from agegender.errors import UsageError

pytestmark = pytest.mark.quick


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def parse(command: str, text: str, *flags: str) -> argparse.Namespace:
    """Parse ``flags`` of ``command`` behind ``--config`` with a file that holds ``text``."""
    Path("run.yaml").write_text(text, encoding="utf-8")
    return command_parser(command, prog=command).parse_args(["--config", "run.yaml", *flags])


def printed(command: str, *flags: str, capsys: pytest.CaptureFixture[str]) -> str:
    """Return what ``--print_config`` prints."""
    with pytest.raises(SystemExit) as ended:
        command_parser(command, prog=command).parse_args([*flags, "--print_config"])
    assert ended.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("line", "flag", "expected"),
    [
        ("lr: 1e-3", "lr", 0.001),  # YAML 1.1 makes a text of it
        ("lr: .5", "lr", 0.5),
        ('lr: "0.5"', "lr", 0.5),
        ("lr: null", "lr", None),
        ("lr:", "lr", None),
        ("batch_size: 64", "batch_size", 64),
        ("batch-size: 64", "batch_size", 64),
        ("--batch-size: 64", "batch_size", 64),
        ("compile: yes", "compile", True),
        ("compile: true", "compile", True),
        ("rand_mirror: 0", "rand_mirror", False),
        ("rand_mirror: off", "rand_mirror", False),
        ("data_shape: [3, 64, 64]", "data_shape", (3, 64, 64)),
        ("data_shape: 3,64,64", "data_shape", (3, 64, 64)),
        ("lr_steps:\n  - 3\n  - 5.5", "lr_steps", (3.0, 5.5)),
        ("lr_steps: []", "lr_steps", ()),
        ("gpu_ids: [0, 1]", "gpu_ids", "0,1"),
        ("gpu_ids: 0", "gpu_ids", "0"),
        ("label_order: [age, gender]", "label_order", "age,gender"),
        ("data_dir: no", "data_dir", "no"),  # YAML 1.1 makes a bool of it
        ("prefix: 12:30", "prefix", "12:30"),  # and a number of seconds of this
        ("prefix: 人脸/model", "prefix", "人脸/model"),
        ("tensorboard: true", "tensorboard", "auto"),
        ("tensorboard: false", "tensorboard", None),
        ("tensorboard: curves", "tensorboard", "curves"),
        ("optimizer: &it adam\nprefix: *it", "prefix", "adam"),
    ],
)
def test_a_value_is_read_as_its_flag_reads_it(line: str, flag: str, expected: Any) -> None:
    found = getattr(parse("train", line), flag)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("command", "line", "flag", "expected"),
    [
        ("eval", "data: [a.rec, b.rec]", "data", "a.rec,b.rec"),
        ("eval", "data: a.rec", "data", "a.rec"),
        ("eval", "compare: [m50, ssrnet]", "compare", ("m50", "ssrnet")),
        ("eval", "by: [age, gender]", "by", ("age", "gender")),
        ("pack", "list: [a.txt, b.txt]", "list", ("a.txt", "b.txt")),
        ("pack", "list: a.txt", "list", ("a.txt",)),
        ("pack", "sources: [UTKFace, AgeDB]", "sources", ("UTKFace", "AgeDB")),
        ("infer", "image: [a.jpg, b.jpg]", "image", ["a.jpg", "b.jpg"]),
        ("infer", "json: true", "json", "-"),
        ("infer", "json: faces.jsonl", "json", "faces.jsonl"),
        ("infer", "det_threshold: 0.9", "det_threshold", (0.9,)),
        ("export", "model: ssrnet", "model", "ssrnet"),
        ("serve", "debug: yes", "debug", True),
    ],
)
def test_every_kind_of_flag(command: str, line: str, flag: str, expected: Any) -> None:
    assert getattr(parse(command, line), flag) == expected


@pytest.mark.parametrize(
    ("command", "line", "flags", "flag", "expected"),
    [
        ("train", "lr: 1", ["--lr", "2"], "lr", 2.0),
        ("train", "compile: yes", ["--compile", "0"], "compile", False),
        ("train", "lr_steps: [1, 2]", ["--lr-steps", "7"], "lr_steps", (7.0,)),
        ("pack", "list: [a.txt]", ["--list", "b.txt", "--list", "c.txt"], "list", ("b.txt", "c.txt")),
        ("infer", "image: [a.jpg]", ["--image", "b.jpg", "--image", "c.jpg"], "image", ["b.jpg", "c.jpg"]),
        ("export", "model: ssrnet", ["m50"], "model", "m50"),
        ("eval", "data: a.rec", ["--data", "b.rec", "c.rec"], "data", "b.rec,c.rec"),
    ],
)
def test_the_command_line_wins(command: str, line: str, flags: list[str], flag: str, expected: Any) -> None:
    assert getattr(parse(command, line, *flags), flag) == expected


def test_what_the_file_leaves_open_is_the_default() -> None:
    assert collect(TrainConfig, parse("train", "# nothing yet\n")) == TrainConfig()
    assert collect(TrainConfig, parse("train", "lr: 0.5")) == TrainConfig(lr=0.5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bacth_size: 3", "run.yaml:1: train has no flag 'bacth_size'; did you mean 'batch_size'?"),
        ("lr: 1\n\nqqq: 3", "run.yaml:3: train has no flag 'qqq' (--help lists them)"),
        ("config: other.yaml", "run.yaml:1: train has no flag 'config'"),
        ("lr: 1\nlr: 2", "run.yaml:2: lr is in line 1 already"),
        ("lr_steps: 1\nlr-steps: 2", "run.yaml:2: lr_steps is in line 1 already"),
        ("# \nbatch_size: 1.5", "run.yaml:2: batch_size '1.5' is not a whole number"),
        ("batch_size: true", "run.yaml:1: batch_size 'true' is not a whole number"),
        ("lr: fast", "run.yaml:1: lr 'fast' is not a number"),
        ("batch_size: [8, 16]", "run.yaml:1: batch_size takes one value, not a list"),
        ("network: [m50]", "run.yaml:1: network takes one value, not a list"),
        ("lr_steps: [1, x]", "run.yaml:1: lr_steps '1,x' is not comma-separated float"),
        ("lr_steps: [1, [2]]", "run.yaml:1: a list within a list; it takes numbers and texts"),
        ("lr_steps: [1, null]", "run.yaml:1: a null within a list; it takes numbers and texts"),
        ("batch_size: null", "run.yaml:1: batch_size has no value; leave the line out for the default"),
        ("compile: maybe", "run.yaml:1: compile: 'maybe' is neither 1 (yes) nor 0 (no)"),
        ("optimizer: adm", "run.yaml:1: optimizer 'adm'; did you mean 'adam'? (sgd, nag, adam, rmsprop)"),
        ("version_input: 2", "run.yaml:1: version_input '2' (0, 1)"),
        ("lr: {start: 1}", "run.yaml:1: a mapping where a value or a list is expected"),
        ("- lr", "run.yaml:1: lines such as batch_size: 64 are expected here, not a list"),
        ("lr", "run.yaml:1: lines such as batch_size: 64 are expected here, not a text"),
        ("[a]: 1", "run.yaml:1: the name of a flag is expected here, not a list"),
        ("lr: 1\n<<: {wd: 1}", "run.yaml:2: the name of a flag is expected here, not a merge (<<)"),
        ("lr: 1\n  wd: 2", "run.yaml:2: mapping values are not allowed here"),
        ("prefix: 'open", "run.yaml:1: found unexpected end of stream"),
        ("lr: 1\n---\nlr: 2", "run.yaml:2: but found another document"),
        ("lr: *rate", "run.yaml:1: found undefined alias 'rate'"),
        ("prefix: !!python/object/apply:os.system [ls]", "run.yaml:1: a value tagged tag:yaml.org,2002:python/"),
        ("prefix: !!binary aGk=", "run.yaml:1: a value tagged tag:yaml.org,2002:binary where"),
        ("prefix: \x07", "--config run.yaml holds the character 0x7, which is no text"),
        ("lr: " + "[" * 700, "--config run.yaml: its brackets are nested too deeply"),
        ("lr: &a [*a]", "run.yaml:1: a list within a list"),
        ("command: eval", "run.yaml:1: this file is for eval, not for train"),
        ("command: create_dataset.py", "run.yaml:1: this file is for create_dataset.py, not for train"),
        ("command: [train]", "run.yaml:1: command is the name of a command, such as train"),
        ("#" * (LARGEST_BYTES + 1), "--config run.yaml holds more than 1,000,000 bytes: it is no file of flags"),
    ],
)
def test_what_is_wrong_is_one_line_with_its_place(text: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse("train", text)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith(f"train: error: {message}")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("command", "line", "message"),
    [
        ("eval", "compare: [m50]", "run.yaml:1: compare takes a list of 2, not of 1"),
        ("eval", "data: []", "run.yaml:1: data is an empty list"),
        ("export", "model: null", "run.yaml:1: model has no value"),
        ("ages", "lr: 1", "run.yaml:1: ages has no flag 'lr'"),
    ],
)
def test_lists_have_their_length(command: str, line: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(command, line)
    assert capsys.readouterr().err.startswith(f"{command}: error: {message}")


def test_bytes_that_are_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run.yaml").write_bytes(b"lr: \xff")
    with pytest.raises(UsageError, match=r"^--config run.yaml is no text in UTF-8 \(invalid start byte in byte 4\)$"):
        read_entries("run.yaml")
    with pytest.raises(UsageError, match=r"^--config nowhere/run.yaml: No such file or directory$"):
        read_entries("nowhere/run.yaml")


def test_a_byte_order_mark_is_no_part_of_a_key() -> None:
    Path("run.yaml").write_bytes("\ufefflr: 1".encode())
    assert [entry.key for entry in read_entries("run.yaml")] == ["lr"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--config", "a.yaml", "--config=b.yaml"], "--config is given 2 times (a.yaml, b.yaml); one file holds all"),
        (["--conf", "a.yaml"], "--config has to be written in full"),
        (["--config"], "argument --config: expected one argument"),
    ],
)
def test_one_file_named_in_full(flags: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command_parser("train", prog="train").parse_args(flags)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err


def test_a_missing_package_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("run.yaml").write_text("lr: 1")
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(UsageError, match=r"^--config needs the package PyYAML, which is not installed: pip install"):
        read_entries("run.yaml")


@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_printed_is_read_again(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    given = ["a model's name"] if command == "export" else []
    first = printed(command, *given, capsys=capsys)
    assert first.startswith(f'command: "{command}"\n')
    Path("run.yaml").write_text(first, encoding="utf-8")
    assert yaml.safe_load(printed(command, "--config", "run.yaml", capsys=capsys)) == yaml.safe_load(first)
    now = vars(command_parser(command, prog=command).parse_args(["--config", "run.yaml"]))
    plain = vars(command_parser(command, prog=command).parse_args(given))
    assert {**now, "config": None} == plain


def test_a_file_is_for_its_command_by_any_of_its_names() -> None:
    assert parse("pack", "command: create_dataset\nsynthetic: 9").synthetic == 9
    assert parse("pack", "command: pack\nsynthetic: 9").synthetic == 9
    assert parse("train", "command: train.py\nlr: 9").lr == 9


def test_flags_that_another_parser_reads(capsys: pytest.CaptureFixture[str]) -> None:
    def parser() -> CommandParser:
        rest = argparse.ArgumentParser(allow_abbrev=False)
        rest.add_argument("--lr", type=float, default=0.1)
        made = CommandParser(command="fold", rest=rest, rest_command="train", allow_abbrev=False, prog="fold")
        made.add_argument("--folds", type=int)
        return made

    Path("run.yaml").write_text("command: train\nfolds: 5\nlr: 0.5")
    args, rest = parser().parse_known_args(["--config", "run.yaml", "--lr", "2"])
    assert (args.folds, rest) == (5, ["--lr=0.5", "--lr", "2"])
    with pytest.raises(SystemExit):
        parser().parse_known_args(["--config", "run.yaml", "--lr", "2", "--print_config"])
    assert capsys.readouterr().out == 'command: "fold"\nlr: 2.0\nfolds: 5\n'
    Path("run.yaml").write_text("lr: fast")
    with pytest.raises(SystemExit):
        parser().parse_known_args(["--config", "run.yaml"])
    assert capsys.readouterr().err == "fold: error: run.yaml:1: lr 'fast' is not a number\n"


def test_help_needs_no_file_and_no_yaml(root: Path) -> None:
    code = """
import sys
from agegender.app.cli import run_command
try:
    run_command("train", ["--config", "nowhere.yaml", "--help"], prog="train")
except SystemExit as done:
    assert done.code == 0
assert "yaml" not in sys.modules and "numpy" not in sys.modules
"""
    environment = {"PYTHONPATH": str(root / "src")}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "--config FILE" in done.stdout


def test_values_out_of_range_are_one_line_too(capsys: pytest.CaptureFixture[str]) -> None:
    Path("run.yaml").write_text("batch_size: 0")
    assert run_command("train", ["--config", "run.yaml"], prog="train") == 2
    assert capsys.readouterr().err == "train: error: batch_size 0 is not 1 or more\n"


WORDS = st.text(st.characters(codec="utf-8"), max_size=20)
SIMPLE = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | WORDS
NAMES = st.from_regex(r"[a-z][a-z_]{0,9}", fullmatch=True).filter(lambda name: name not in ("y", "n"))


@settings(max_examples=80, deadline=None)
@given(st.dictionaries(NAMES, SIMPLE | st.lists(st.integers() | WORDS, max_size=4), max_size=5))
def test_what_is_written_is_yaml(tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]) -> None:
    """PyYAML itself is the judge: texts and lists come back as they were, and our reader sees the same texts."""
    text = as_yaml(values)
    loaded = yaml.safe_load(text) or {}
    assert {str(name): value for name, value in loaded.items() if not isinstance(value, float | str)} == {
        name: value for name, value in values.items() if not isinstance(value, float | str)
    }
    file = tmp_path_factory.mktemp("yaml") / "run.yaml"
    file.write_text(text, encoding="utf-8", newline="\n")
    for entry in read_entries(str(file)):
        value = values[entry.key]
        if isinstance(value, str):
            assert entry.value == value
        elif isinstance(value, list):
            assert entry.value == tuple(map(str, value))
        elif value is None:
            assert entry.value is None
        else:
            assert json.loads(str(entry.value)) == value


@settings(max_examples=120, deadline=None)
@given(st.binary(max_size=60) | st.text(st.sampled_from("ab:-[]{}&*!'\"#|> \n\t0~%@?,"), max_size=40).map(str.encode))
def test_no_file_brings_the_reader_down(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    file = tmp_path_factory.mktemp("yaml") / "run.yaml"
    file.write_bytes(data)
    try:
        entries = read_entries(str(file))
    except UsageError as error:
        assert "run.yaml" in str(error)
        assert "\n" not in str(error)
    else:
        assert len({entry.key for entry in entries}) == len(entries)
