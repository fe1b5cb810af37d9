"""Shipped weights: are they the ones that were shipped?"""

from __future__ import annotations

import json
from pathlib import Path

from agegender.errors import CheckpointError
from agegender.files import sha256_file

MANIFEST = "manifest.json"


def check_listed(path: Path) -> None:
    """Compare a weight file with the manifest of the models folder it lies in (``models/manifest.json``).

    A file that no manifest lists is a user's own and passes. Raises CheckpointError where the file is missing, its
    SHA-256 is another, or the manifest is damaged.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist")
    manifest = path.parent.parent / MANIFEST
    if not manifest.is_file():
        return
    try:
        listed = json.loads(manifest.read_text(encoding="utf-8"))["files"].get(f"{path.parent.name}/{path.name}")
        expected = None if listed is None else listed["sha256"]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{manifest} is damaged: {error!r}") from error
    if expected is not None and sha256_file(path) != expected:
        raise CheckpointError(f"{path} is not the file that was shipped: its SHA-256 differs from {manifest}")
