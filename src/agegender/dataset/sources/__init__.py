"""The public datasets that we read, each by its folder under ``dataset/``; one small file each."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path

from agegender.dataset.problems import BAD_LABEL, BAD_NAME, MISSING, Problem, Problems
from agegender.dataset.sources.aaf import AllAgeFaces
from agegender.dataset.sources.adience import Adience
from agegender.dataset.sources.afad import AFAD
from agegender.dataset.sources.agedb import AgeDB
from agegender.dataset.sources.appa_real import AppaReal
from agegender.dataset.sources.base import Source
from agegender.dataset.sources.cacd import CACD
from agegender.dataset.sources.celeba import CelebA
from agegender.dataset.sources.fairface import FairFace
from agegender.dataset.sources.fgnet import FGNET
from agegender.dataset.sources.imdb_clean import IMDBClean
from agegender.dataset.sources.imdb_wiki import IMDB, WIKI
from agegender.dataset.sources.lagenda import Lagenda
from agegender.dataset.sources.list_file import ListSource
from agegender.dataset.sources.megaage import MegaAge
from agegender.dataset.sources.megaage_asian import MegaAgeAsian
from agegender.dataset.sources.morph import Morph
from agegender.dataset.sources.mtfl import MTFL
from agegender.dataset.sources.options import SourceOptions
from agegender.dataset.sources.utkface import UTKFace
from agegender.errors import UsageError

__all__ = [
    "BAD_LABEL",
    "BAD_NAME",
    "MISSING",
    "SOURCES",
    "Problem",
    "Problems",
    "Source",
    "SourceOptions",
    "find_sources",
    "list_source",
    "synthetic_source",
]

_ALL: tuple[Source, ...] = (
    *(AgeDB(), MegaAgeAsian(), AFAD(), UTKFace(), MegaAge(), IMDB(), WIKI(), IMDBClean(), Adience(), FairFace()),
    *(AppaReal(), CACD(), Morph(), FGNET(), Lagenda(), AllAgeFaces(), CelebA(), MTFL()),
)
SOURCES: dict[str, Source] = {source.name: source for source in _ALL}


def find_sources(
    root: Path, names: Sequence[str] | None = None, *, options: SourceOptions | None = None
) -> list[Source]:
    """Return the sources whose folder lies under ``root``; with ``names``, exactly those.

    ``options`` are the choices that some sets leave open.

    Raises UsageError for a name that no source has, and for a named source that is not there.
    """
    options = options or SourceOptions()
    if not names:
        return [source.with_options(options) for source in SOURCES.values() if source.found(root)]
    chosen = list(dict.fromkeys(map(_by_name, names)))
    for source in chosen:
        if not source.found(root):
            raise UsageError(f"source {source.name!r} is not under {root}; expected {source.hint}")
    return [source.with_options(options) for source in chosen]


def list_source(file: Path | str) -> Source:
    """Return the source of one list file. Raises UsageError when it does not exist."""
    source = ListSource(file)
    if not source.found(Path()):
        problem = "is no file" if Path(file).exists() else "does not exist"
        raise UsageError(f"list file {str(file)!r} {problem}")
    return source


def synthetic_source(count: int, *, seed: int = 0, size: int = 112) -> Source:
    """Return ``count`` drawn faces as a source; raises UsageError for a negative count."""
    from agegender.dataset.sources.synthetic import Synthetic  # draws with cv2, which nothing else here needs

    return Synthetic(count, seed=seed, size=size)


def _by_name(name: str) -> Source:
    known = {source.lower(): source for source in SOURCES}
    if name.lower() in known:
        return SOURCES[known[name.lower()]]
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    hint = f"; did you mean {known[close[0]]!r}?" if close else ";"
    raise UsageError(f"unknown source {name!r}{hint} ({', '.join(SOURCES)}; own data: --list FILE)")
