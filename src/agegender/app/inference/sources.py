"""Which photos ``--image`` means: files, folders, patterns and a list on standard input, one after the other.

Photos are found while others are computed, and none is kept: of a tree of a million files memory holds the names in
the folders that lead to the current one.
"""

from __future__ import annotations

import glob
import os
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePath
from typing import IO

from agegender.app.named_files import identity
from agegender.errors import UsageError

# What a folder is searched for; a file that is named is tried whatever it is called.
PHOTO_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".webp"),
    *(".gif", ".tif", ".tiff", ".jp2", ".ppm", ".pgm", ".pbm"),
)
STANDARD_INPUT = "-"
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_CHUNK = 1 << 16


@dataclass(frozen=True)
class Found:
    """A photo: its file, and its ``place`` below the folder that was searched. ``error`` says why it can't be one."""

    path: Path
    place: PurePath
    error: str | None = None


@dataclass(frozen=True)
class NamedFile:
    """A photo that was named."""

    path: Path

    def photos(self) -> Iterator[Found]:
        """Yield it, whether it is there or not."""
        yield Found(self.path, PurePath(self.path.name))


@dataclass(frozen=True)
class Search:
    """The photos below ``base``, in order of path; with ``pattern`` those files whose path below it matches.

    A folder that matches counts as if it were named. ``leave_out`` is a folder that isn't entered, such as the one
    that annotated pictures go to. Links to folders are followed only where ``pattern`` names them. ``name`` is what
    errors call the search.
    """

    name: str
    base: Path
    pattern: tuple[str, ...] = ()
    leave_out: Path | None = None

    def photos(self) -> Iterator[Found]:
        """Yield the photos; a folder that can't be read is one of them, with an error."""
        leave_out = self.leave_out
        yield from _walk(self.base, (), self.pattern, None if leave_out is None else os.path.realpath(leave_out))

    def holds(self, path: Path) -> bool:
        """Tell whether the file ``path`` is one of those that are found."""
        real = Path(os.path.realpath(path))
        base = Path(os.path.realpath(self.base))
        if not real.is_relative_to(base):
            return False
        if self.leave_out is not None and real.is_relative_to(os.path.realpath(self.leave_out)):
            return False
        parts = real.relative_to(base).parts
        if self.pattern:
            return any(_matches(parts[:end], self.pattern) for end in range(1, len(parts) + 1))
        return _is_photo(real.name)


class Listed:
    """The paths on standard input, one a line; each is a photo, tried whatever it is called."""

    def __init__(self, stream: IO[bytes], *, leave_out: Path | None = None) -> None:
        self._stream = stream
        self._leave_out = None if leave_out is None else os.path.realpath(leave_out)

    def photos(self) -> Iterator[Found]:
        """Yield them as they come in. Line ends of any system, empty lines left out."""
        for line in _lines(self._stream):
            name = os.fsdecode(line.rstrip(b"\r"))
            if name:
                yield self._found(name)

    def _found(self, name: str) -> Found:
        path = Path(name)
        place = PurePath(*(part for part in path.parts if part not in (path.anchor, "..")))
        error = None
        if is_url(name):
            error = _no_url(name)
        elif self._leave_out is not None and Path(os.path.realpath(path)).is_relative_to(self._leave_out):
            error = f"{name}: lies in the folder of --output, whose pictures are replaced; name another folder there"
        return Found(path, place, error)


Source = NamedFile | Search | Listed


def open_sources(names: Sequence[str], *, leave_out: Path | None = None) -> list[Source]:
    """Return what ``names`` mean: ``-`` is standard input; a pattern has ``*``, ``?``, ``[...]`` or ``**`` in it.

    Searches don't enter the folder ``leave_out`` unless they begin in it. Raises UsageError for a URL, for a folder
    without photos and for a pattern that nothing matches.
    """
    sources: list[Source] = []
    for name in dict.fromkeys(names):
        if is_url(name):
            raise UsageError(f"--image {_no_url(name)}")
        path = Path(name).expanduser()
        if name == STANDARD_INPUT:
            sources.append(Listed(_standard_input(), leave_out=leave_out))
        elif path.is_dir():
            sources.append(_search(name, path, (), leave_out))
        elif not path.exists() and glob.has_magic(name):
            fixed = next(index for index, part in enumerate(path.parts) if glob.has_magic(part))
            sources.append(_search(name, Path(*path.parts[:fixed]), path.parts[fixed:], leave_out))
        else:
            sources.append(NamedFile(path))
    return sources


def find_photos(sources: Sequence[Source]) -> Iterator[Found]:
    """Yield the photos of all ``sources`` in their order, none twice (by path)."""
    from agegender.app.seen_names import SeenNames

    seen = SeenNames() if len(sources) > 1 or isinstance(sources[0], Listed) else None
    for source in sources:
        for found in source.photos():
            if seen is None or seen.add(str(found.path)):
                yield found


def is_url(name: str) -> bool:
    """Tell whether ``name`` is an address of the web or the like."""
    return _URL.match(name) is not None


def _no_url(name: str) -> str:
    return f"{name}: photos are read from files, not from addresses; download it and name the file"


def _search(name: str, base: Path, pattern: tuple[str, ...], leave_out: Path | None) -> Search:
    if leave_out is not None and Path(os.path.realpath(base)).is_relative_to(os.path.realpath(leave_out)):
        leave_out = None
    search = Search(name, base, pattern, leave_out)
    if not base.is_dir() or next(search.photos(), None) is None:
        if pattern:
            raise UsageError(f"--image {name}: no file matches")
        raise UsageError(f"--image {name}: no photo lies in that folder or below ({' '.join(PHOTO_SUFFIXES)})")
    return search


def _walk(folder: Path, parts: tuple[str, ...], pattern: tuple[str, ...], leave_out: str | None) -> Iterator[Found]:
    """Yield what ``Search`` finds in ``folder``, whose path below the base is ``parts``."""
    try:
        with os.scandir(folder) as scan:
            # Names alone: a million DirEntry objects would take three times the memory.
            names = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in scan)
    except OSError as error:
        yield Found(folder, PurePath(*parts, "x"), f"{folder}: can't be read ({error.strerror or error})")
        return
    for name, is_folder in names:
        path, here = folder / name, (*parts, name)
        matches = not pattern or _matches(here, pattern)
        if not is_folder and pattern and _leads(here, pattern) and "**" not in pattern[: len(here)]:
            is_folder = path.is_dir()  # a link that the pattern goes through
        if is_folder:
            if leave_out is not None and os.path.realpath(path) == leave_out:
                continue
            if matches:
                yield from _walk(path, here, (), leave_out)
            elif _leads(here, pattern):
                yield from _walk(path, here, pattern, leave_out)
        elif matches and (_is_photo(name) if not pattern or pattern[-1] == "**" else True) and path.is_file():
            yield Found(path, PurePath(*here))


def _is_photo(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in PHOTO_SUFFIXES  # noqa: PTH122 - a name, a million times


def _matches(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Tell whether a path matches; ``**`` stands for any number of folders."""
    if not pattern:
        return not parts
    if pattern[0] == "**":
        return _matches(parts, pattern[1:]) or (bool(parts) and parts[0][0] != "." and _matches(parts[1:], pattern))
    return bool(parts) and _fits(parts[0], pattern[0]) and _matches(parts[1:], pattern[1:])


def _leads(parts: tuple[str, ...], pattern: tuple[str, ...]) -> bool:
    """Tell whether something below the folder ``parts`` could match."""
    if not parts:
        return bool(pattern)
    if not pattern:
        return False
    if pattern[0] == "**":
        return parts[-1][0] != "." or _leads(parts, pattern[1:])
    return _fits(parts[0], pattern[0]) and _leads(parts[1:], pattern[1:])


def _fits(name: str, part: str) -> bool:
    return fnmatch(name, part) and (name[0] != "." or part[0] == ".")


def _standard_input() -> IO[bytes]:
    # Unbuffered: a thread that waits in a buffered stream would keep Python from ending.
    return open(sys.stdin.fileno(), "rb", buffering=0, closefd=False)


def _lines(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield lines without their ends as soon as each is there."""
    rest = b""
    while chunk := stream.read(_CHUNK):
        *whole, rest = (rest + chunk).split(b"\n")
        yield from whole
    if rest:
        yield rest


def named_identities(sources: Sequence[Source]) -> set[tuple[int, int] | str]:
    """Return the identities of the files that were named."""
    return {identity(source.path) for source in sources if isinstance(source, NamedFile)}
