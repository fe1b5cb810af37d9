"""How commands end where nobody reads their output, or something else goes wrong."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agegender.app.cli import main as agegender
from agegender.app.ending import exit_code_of
from agegender.errors import DataError, UsageError

MANY_LINES = """
import sys
from agegender.app.ending import exit_code_of

def run():
    for number in range(200_000):
        print(number)
    return 0

sys.exit(exit_code_of(run, prog="x"))
"""


@pytest.mark.quick
def test_a_reader_that_has_seen_enough_ends_it_quietly(root: Path) -> None:
    command = [sys.executable, "-c", MANY_LINES]
    with subprocess.Popen(command, cwd=root / "src", stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline() == b"0\n"
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(timeout=30) == 141


@pytest.mark.quick
@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (DataError("x.rec is cut off"), 1, "x: error: x.rec is cut off\n"),
        (UsageError("--n -1"), 2, "x: error: --n -1\n"),
        (OSError(28, "No space left on device"), 1, "x: error: [Errno 28] No space left on device\n"),
        # Another pipe than standard output.
        (BrokenPipeError(32, "Broken pipe"), 1, "x: error: [Errno 32] Broken pipe\n"),
        (KeyboardInterrupt(), 130, "\nx: interrupted\n"),
    ],
)
def test_errors_are_one_line(error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    def run() -> int:
        raise error

    assert exit_code_of(run, prog="x") == code
    assert capsys.readouterr().err == line
    with pytest.raises(type(error)):
        exit_code_of(run, prog="x", debug=True)


def test_no_command_lets_a_broken_socket_end_the_process(capsys: pytest.CaptureFixture[str]) -> None:
    assert agegender(["eval", "--data", "no.rec", "--model", "ssrnet"]) == 2
    assert signal.getsignal(signal.SIGPIPE) == signal.SIG_IGN
    assert "no.rec" in capsys.readouterr().err
