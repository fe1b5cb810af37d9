"""Reading a tar of small files through, member by member, and refusing what no tar of faces has."""

from __future__ import annotations

import logging
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Self

from agegender.dataset.exchange.entry import MAX_BYTES
from agegender.errors import RecordError

log = logging.getLogger(__name__)

# Headers with a long name or pax keywords come before a member and are read whole.
MAX_HEADER = 64 << 10
_LONG = frozenset(
    (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK, tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
)
_ZEROS = bytes(1 << 20)
# What tarfile raises for headers that are damaged; a chain of long ones ends in a RecursionError.
_DAMAGE = (tarfile.TarError, EOFError, ValueError, ArithmeticError, LookupError, RecursionError)


class _Header(tarfile.TarInfo):
    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        info = super().frombuf(buf, encoding, errors)
        if info.type in _LONG and info.size > MAX_HEADER:
            raise tarfile.ReadError(f"a header of {info.size:,} bytes is over {MAX_HEADER:,}")
        return info


def read_members(path: Path, *, quiet: bool = False) -> Iterator[tuple[str, bytes]]:
    """Yield name and bytes of the files in the tar ``path``, which is not extracted.

    A tar whose last member is whole but that has no end marker is accepted, with a warning unless ``quiet``. Raises
    RecordError for links, devices, names that lead outside, members over 64 MiB, headers over 64 KiB, a member that is
    cut off, and anything but zeros after the last one.
    """
    name = "its beginning"
    try:
        with tarfile.open(path, "r|", tarinfo=_Header) as tar:
            for member in tar:
                name = member.name
                if member.isdir():
                    continue
                _check(path, member)
                file = tar.extractfile(member)
                assert file is not None
                yield name, file.read()
                tar.members.clear()  # type: ignore[attr-defined]  # it keeps them all
            end = tar.offset
    except _DAMAGE as error:
        raise RecordError(f"{path}: damaged at or after {name!r} ({error}); plain tars are read") from error
    _check_end(path, end, name, quiet=quiet)


def _check(path: Path, member: tarfile.TarInfo) -> None:
    name = member.name
    if not member.isreg() or name.startswith("/") or ".." in PurePosixPath(name).parts or "\\" in name or "\0" in name:
        raise RecordError(f"{path}: {name!r} is refused: a link, a device or a name that leads outside")
    if member.size > MAX_BYTES:
        raise RecordError(f"{path}: {name!r} is refused: {member.size:,} bytes are no face")


def _check_end(path: Path, end: int, name: str, *, quiet: bool) -> None:
    """Look at what follows the last member: tarfile stops without a word at a header that it can't read."""
    with open(path, "rb") as file:
        file.seek(end)
        marker = file.read(len(_ZEROS))
        rest = marker
        while rest:
            if rest != _ZEROS[: len(rest)]:
                raise RecordError(
                    f"{path}: after {name!r}, from byte {end:,} on, comes no member: damaged, or two tars"
                )
            rest = file.read(len(_ZEROS))
    if not marker and not quiet:
        log.warning("%s: ends after %r, which is whole, without an end marker: were there more members?", path, name)
