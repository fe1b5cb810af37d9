"""Packages that only a part of the commands needs, asked for before the work begins."""

from __future__ import annotations

import sys
from importlib.util import find_spec

from agegender.errors import UsageError


def require_packages(*names: str, extra: str) -> None:
    """Raise UsageError for the first of ``names``, as they are imported, that is not installed, with the way to it.

    ``extra`` is what brings them: ``ray`` for ``requirements-ray.txt`` and ``agegender[ray]``.
    """
    for name in names:
        if find_spec(name) is None:
            raise UsageError(
                f"the package {name} is not installed in {sys.executable}; pip install -r requirements-{extra}.txt "
                f"(or agegender[{extra}]) installs what is needed"
            )
