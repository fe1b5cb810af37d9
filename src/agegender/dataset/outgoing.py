"""Files of an earlier set that a new one puts nothing in the place of: they go, so that no face is in two sets."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from agegender.dataset.manifest import old_files

log = logging.getLogger(__name__)
_NUMBER = re.compile(r"-\d{5}(-of-\d{5}\.)")


def outgoing_files(folder: Path, splits: Iterable[str], *, coming: Collection[str]) -> list[str]:
    """Return the names of the files of the sets ``splits`` in ``folder``, packed by us, that are not among ``coming``.

    A ``test.rec`` from before holds faces that a set without a split has in ``train.rec``.
    """
    return [name for split in splits for name in old_files(folder, split) if name not in coming]


def tell_outgoing(folder: Path, names: Sequence[str]) -> None:
    """Log which files of ``folder`` will be removed; nothing where ``names`` is empty."""
    if names:
        shown = ", ".join(by_pattern(names))
        log.info("%s: the new set has no %s; the old ones will be removed when it is complete", folder, shown)


def by_pattern(names: Sequence[str]) -> list[str]:
    """Return ``names`` with the shards of a set as one: ``train-*-of-00256.rec (256 files)``."""
    counts = Counter(_NUMBER.sub(r"-*\1", name) for name in names)
    return [f"{name} ({count} files)" if count > 1 else name for name, count in counts.items()]
