"""A wrong command line is one line, which names the flag that was meant."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agegender.app.cli import command_parser, main, run_command
from agegender.app.one_line import OneLineParser

SEE = " (--help shows all flags)\n"


def refused(parser: argparse.ArgumentParser, words: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Parse ``words``, which have to end the program with 2; return what standard error got."""
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(words)
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


@pytest.mark.parametrize(
    ("command", "words", "meant"),
    [
        ("train", "--epochs 1", "--end_epoch"),
        ("train", "--epochs=1", "--end_epoch"),
        ("train", "--num-epochs 1", "--end_epoch"),
        ("train", "--learning-rate 0.1", "--lr"),
        ("train", "-lr 0.1", "--lr"),
        ("train", "--batchsize 8", "--batch_size"),
        ("train", "--weight_decay 0", "--wd"),
        ("train", "--momentum 0.9", "--mom"),
        ("train", "--Gpus 0", "--gpu_ids"),
        ("train", "--frobnicate 1", ""),
        ("train", "--epochs 1 --frobnicate --batchsize 8", "--end_epoch, --batch_size"),
        ("train", "--epochs 1 --epoch 2", "--end_epoch"),
        ("infer", "--img x", "--image"),
        ("infer", "--face_color red", ""),
        ("infer", "photo.jpg", ""),
        ("infer", "-1", ""),
        ("eval", "--dataset x", "--data"),
        ("pack", "--outputs x", "--output"),
        ("serve", "--max_size 3", ""),
    ],
)
def test_an_unknown_flag_names_the_nearest(
    command: str, words: str, meant: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hint = f"; did you mean {meant}?" if meant else ""
    said = refused(command_parser(command, prog="x.py"), words.split(), capsys)
    assert said == f"x.py: error: unrecognized arguments: {words}{hint}{SEE}"


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("--batch_size many", "argument --batch_size/--batch-size: invalid int value: 'many'"),
        ("--prefix", "argument --prefix: expected one argument"),
        ("--age x", "ambiguous option: --age could match --age_bins, --age-bins, --age_loss"),
    ],
)
def test_other_mistakes_are_one_line_too(words: str, error: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(command_parser("train", prog="train.py"), words.split(), capsys)
    assert said.startswith(f"train.py: error: {error}")
    assert said.endswith(SEE) and said.count("\n") == 1


def test_a_missing_argument_shows_the_form(capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(command_parser("export", prog="export.py"), [], capsys)
    assert said == f"export.py: error: the following arguments are required: model; the form is: export.py model{SEE}"


def several() -> OneLineParser:
    parser = OneLineParser(prog="tool")
    parser.add_argument("--verbose", action="store_true")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    copy = commands.add_parser("copy")
    copy.add_argument("sources", nargs="+", metavar="FILE")
    copy.add_argument("--into", required=True)
    copy.add_argument("--overwrite", action="store_true")
    copy.add_argument("--secret", action="store_true", help=argparse.SUPPRESS)
    commands.add_parser("list").add_argument("--long", action="store_true")
    return parser


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("", "tool: error: the following arguments are required: COMMAND; the form is: tool {{copy,list}} ..."),
        ("copy a", "tool copy: error: the following arguments are required: --into; {form}"),
        ("copy", "tool copy: error: the following arguments are required: FILE, --into; {form}"),
        # A flag of the command that was chosen, not of another one or of none; one that is hidden stays so.
        ("list --log", "tool list: error: unrecognized arguments: --log; did you mean --long?"),
        ("list --overwrit", "tool list: error: unrecognized arguments: --overwrit"),
        ("copy a --into b --secrets", "tool copy: error: unrecognized arguments: --secrets"),
        ("copy a --into b --overwrites", "{overwrites}"),
        ("move", "tool: error: argument COMMAND: invalid choice: 'move' (choose from "),
    ],
)
def test_subcommands(words: str, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(several(), words.split(), capsys)
    expected = line.format(
        form="the form is: tool copy FILE ... --into INTO",
        overwrites="tool copy: error: unrecognized arguments: --overwrites; did you mean --overwrite?",
    )
    assert said.startswith(expected)
    assert said.endswith(SEE) and said.count("\n") == 1
    if not line.endswith("(choose from "):
        assert said == expected + SEE


def test_a_right_command_line_is_read_as_ever() -> None:
    found = several().parse_args(["copy", "a", "b", "--into", "c"])
    assert (found.command, found.sources, found.into, found.overwrite) == ("copy", ["a", "b"], "c", False)
    # With a rest of its own a caller still gets it.
    assert several().parse_known_args(["list", "--lng"])[1] == ["--lng"]


def test_the_runner_of_all_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["trian"])
    said = capsys.readouterr().err
    assert said.startswith("agegender: error: argument COMMAND: invalid choice: 'trian' (choose from ")
    assert said.count("\n") == 1
    with pytest.raises(SystemExit):
        run_command("train", ["--epochs", "1"], prog="train.py")
    said = capsys.readouterr().err
    assert said == f"train.py: error: unrecognized arguments: --epochs 1; did you mean --end_epoch?{SEE}"


@settings(max_examples=60, deadline=None)
@given(st.lists(st.text(max_size=12), min_size=1, max_size=3))
def test_whatever_is_written_ends_in_a_message(words: list[str]) -> None:
    """No text makes the search for a near flag fail; it is found among the parser's own, if at all."""
    parser = OneLineParser(prog="tool", add_help=False, allow_abbrev=False, prefix_chars="-")
    parser.add_argument("--end_epoch")
    heard: list[str] = []
    parser.exit = lambda status=0, message=None: heard.append(str(message))  # type: ignore[assignment,method-assign,misc]
    parser.parse_args([f"--{word}" for word in words if not word.startswith("end_epoch")])
    for line in heard:
        assert line.startswith("tool: error: ") and line.endswith(SEE)
        assert "did you mean" not in line or "did you mean --end_epoch?" in line


def test_nothing_heavy_is_loaded_for_it(root: Path) -> None:
    code = """
import sys
from agegender.app.cli import run_command
try:
    run_command("train", ["--epochs", "1"], prog="train.py")
except SystemExit as done:
    assert done.code == 2
assert "numpy" not in sys.modules and "mxnet" not in sys.modules
"""
    done = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": str(root / "src")}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.endswith(f"did you mean --end_epoch?{SEE}")
