"""``python -m agegender``: the same as the command ``agegender``."""

from __future__ import annotations

import sys

from agegender.app.cli import main

if __name__ == "__main__":
    sys.exit(main())
