"""How commands and tools end: with their exit code, and one line on standard error where something went wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable

from agegender.errors import INTERRUPTED, AgeGenderError


def exit_code_of(run: Callable[[], int], *, prog: str, debug: bool = False) -> int:
    """Return what ``run`` returns; 1 or 2 (``AgeGenderError.exit_code``) and 130 (Ctrl-C) where it ends otherwise.

    ``prog`` begins the line that says why. With ``debug`` everything is raised as it comes.
    """
    try:
        return run()
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
