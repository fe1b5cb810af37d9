"""How commands and tools end: with their exit code, and one line on standard error where something went wrong."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Callable

from agegender.errors import INTERRUPTED, AgeGenderError

# What a shell says of a process that SIGPIPE has ended.
_BROKEN_PIPE = 141


def exit_code_of(run: Callable[[], int], *, prog: str, debug: bool = False) -> int:
    """Return what ``run`` returns; 1 or 2 (``AgeGenderError.exit_code``) and 130 (Ctrl-C) where it ends otherwise.

    ``prog`` begins the line that says why. With ``debug`` everything is raised as it comes.
    """
    try:
        code = run()
        if sys.stdout is not None:
            sys.stdout.flush()
        return code
    except BrokenPipeError as error:
        if debug:
            raise
        if not _nobody_reads():
            print(f"{prog}: error: {error}", file=sys.stderr)
            return 1
        return _BROKEN_PIPE
    except (AgeGenderError, OSError) as error:
        # A full disk, a missing folder, a file without permission: the system's own words name it well.
        if debug:
            raise
        print(f"{prog}: error: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, AgeGenderError) else 1
    except KeyboardInterrupt:
        if debug:
            raise
        print(f"\n{prog}: interrupted", file=sys.stderr)
        return INTERRUPTED


def _nobody_reads() -> bool:
    """Tell whether standard output is a pipe that was closed (``... | head``), and if so let it end quietly.

    SIGPIPE itself stays ignored, as Python has it: its default would end a service when a client leaves.
    """
    try:
        output = sys.stdout.fileno()
    except (AttributeError, OSError):  # no stream at all, or one that is no file
        return False
    if not hasattr(select, "poll"):  # Windows
        return False
    poll = select.poll()
    poll.register(output, select.POLLOUT)
    if not any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
        return False
    # What is left in the buffer would be tried again, and told, when Python ends.
    os.dup2(os.open(os.devnull, os.O_WRONLY), output)
    return True
