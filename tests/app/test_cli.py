"""The command runner: errors become one line and an exit code."""

from __future__ import annotations

import argparse
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
    assert said.startswith("fails: error: the package a_package_that_nobody_has is not installed in ")
    assert said.strip().endswith("make setup installs what is needed, then: source .venv/bin/activate")


def test_success_is_zero(command: types.ModuleType) -> None:
    assert cli.run_command("fails", [], prog="fails") == 0


def test_an_unknown_command_lists_the_known(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["trian"])
    assert stopped.value.code == 2
    assert "pack" in capsys.readouterr().err
