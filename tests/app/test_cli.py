"""The command runner: errors become one line and an exit code."""

from __future__ import annotations

import argparse
import io
import sys
import types

import pytest

from agegender.app import cli
from agegender.errors import DataError, UsageError


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A command ``fails`` whose ``main`` a test may replace."""
    module = types.ModuleType("fails")
    module.add_arguments = lambda parser: None  # type: ignore[attr-defined]
    module.main = lambda args: None  # type: ignore[attr-defined]
    monkeypatch.setitem(cli.COMMANDS, "fails", ("fails", "fails"))
    monkeypatch.setattr(cli.importlib, "import_module", lambda name: module)
    return module


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (UsageError("unknown network 'm51'"), 2, "fails: error: unknown network 'm51'"),
        (DataError("train.rec: record 7: damaged"), 1, "fails: error: train.rec: record 7: damaged"),
        (OSError(28, "No space left on device", "runs"), 1, "fails: error: [Errno 28] No space left on device: 'runs'"),
        (KeyboardInterrupt(), 130, "fails: interrupted"),
    ],
)
def test_errors_are_one_line(
    command: types.ModuleType, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, line: str
) -> None:
    def main(args: argparse.Namespace) -> int:
        raise error

    command.main = main
    assert cli.run_command("fails", [], prog="fails") == code
    assert capsys.readouterr().err.strip() == line
    with pytest.raises(type(error)):
        cli.run_command("fails", ["--debug"], prog="fails")


def test_a_missing_package_says_how_to_get_it(command: types.ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    def main(args: argparse.Namespace) -> int:
        import a_package_that_nobody_has  # noqa: F401

        return 0

    command.main = main
    assert cli.run_command("fails", [], prog="fails") == 2
    said = capsys.readouterr().err
    assert said == (
        f"fails: error: the package a_package_that_nobody_has is not installed in {sys.executable}; "
        "pip install -r requirements.txt (or make setup, then: source .venv/bin/activate) installs what is needed\n"
    )


@pytest.mark.parametrize("name", ["stdout", "stderr"])
@pytest.mark.parametrize(
    ("encoding", "errors", "text", "written"),
    [
        ("latin-1", "strict", "é 女", b"\xe9 \\u5973"),
        ("cp1252", "strict", "€ 男", b"\x80 \\u7537"),
        ("ascii", "strict", "face 1", b"face 1"),
        ("gbk", "strict", "女 é", "女 é".encode("gbk")),
        ("utf-8", "strict", "女 \udcff", "女 ".encode() + rb"\udcff"),
        # What a C locale has: the bytes of a file's name that is no text come out as they are.
        ("ascii", "surrogateescape", "x\udcff", b"x\xff"),
        ("ascii", "surrogateescape", "女", rb"\u5973"),
        ("utf-8", "surrogateescape", "女\udcff", "女".encode() + b"\xff"),
        ("latin-1", "replace", "女", b"?"),
    ],
)
def test_no_character_stops_a_command(
    command: types.ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    encoding: str,
    errors: str,
    text: str,
    written: bytes,
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, name, io.TextIOWrapper(raw, encoding, errors, newline="\n"))

    def main(args: argparse.Namespace) -> int:
        print(text, file=getattr(sys, name), flush=True)
        return 0

    command.main = main
    assert cli.run_command("fails", [], prog="fails") == 0
    assert raw.getvalue() == written + b"\n"


@pytest.mark.parametrize("stream", [None, io.StringIO()])
def test_a_stream_that_is_no_file_stays(
    command: types.ModuleType, monkeypatch: pytest.MonkeyPatch, stream: io.StringIO | None
) -> None:
    monkeypatch.setattr(sys, "stdout", stream)
    assert cli.run_command("fails", [], prog="fails") == 0


def test_success_is_zero(command: types.ModuleType) -> None:
    assert cli.run_command("fails", [], prog="fails") == 0


def test_an_unknown_command_lists_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["trian"])
    assert stopped.value.code == 2
    assert "pack" in capsys.readouterr().err
