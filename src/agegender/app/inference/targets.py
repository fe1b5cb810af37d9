"""Where annotated pictures go: one per photo, none over another, none over a photo."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path, PurePath

from agegender.app.inference.sources import (
    PHOTO_SUFFIXES,
    Found,
    NamedFile,
    Search,
    Source,
    find_photos,
    named_identities,
)
from agegender.app.named_files import identity
from agegender.errors import UsageError

# What pictures can be written as.
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")
# What nobody calls a folder: such an --output is a mistake, not the folder to make.
OTHER_SUFFIXES = (
    *(suffix for suffix in PHOTO_SUFFIXES if suffix not in PICTURE_SUFFIXES),
    *(".pdf", ".svg", ".eps", ".ps", ".psd", ".heic", ".heif", ".avif", ".jxl", ".ico", ".tga"),
    *(".txt", ".csv", ".json", ".jsonl", ".html", ".htm", ".md", ".doc", ".docx", ".zip"),
)
NO_PICTURES = "none"


def picture_folder(output: str) -> Path | None:
    """Return the folder that ``--output`` means, None where it means one picture or none at all.

    Raises UsageError for a file of a kind that can't be written.
    """
    path = Path(output)
    if output == NO_PICTURES:
        return None
    if path.is_dir() or output.endswith(("/", os.sep)):
        return path
    if path.suffix.lower() in OTHER_SUFFIXES:
        raise UsageError(
            f"--output {output}: no {path.suffix} can be written, only {', '.join(PICTURE_SUFFIXES)}; "
            f"a folder of that name is {output}/"
        )
    if path.suffix.lower() in PICTURE_SUFFIXES:
        return None
    if path.exists():
        raise UsageError(f"--output {output} is neither a folder nor a picture's name ({', '.join(PICTURE_SUFFIXES)})")
    return path


class Targets:
    """Names a picture after each photo of ``sources``, at the photo's place below the folder ``output``.

    ``a.gif`` becomes ``a.png``, a second ``a.jpg`` ``a-2.jpg``. ``output`` may also be the one picture, or ``none``.
    Raises UsageError where pictures would replace the photos that they are drawn from, and where one picture is to
    hold several photos.
    """

    def __init__(self, sources: Sequence[Source], output: str) -> None:
        from agegender.app.seen_names import SeenNames

        self.folder = picture_folder(output)
        self._picture = Path(output) if self.folder is None and output != NO_PICTURES else None
        self._searches = [source for source in sources if isinstance(source, Search)]
        self._named = named_identities(sources)
        self._taken = SeenNames()
        if self._picture is not None:
            self._check_single(sources, output)
        if self.folder is not None:
            self._check_spared(sources, self.folder)

    def __call__(self, found: Found) -> Path | None:
        """Return the picture of the next photo, None where none is wanted."""
        if self._picture is not None or self.folder is None:
            return self._picture
        suffix = found.place.suffix if found.place.suffix.lower() in PICTURE_SUFFIXES else ".png"
        stem, number = found.place.stem, 1
        place = found.place.with_name(f"{stem}{suffix}")
        while not self._free(place):
            number += 1
            place = found.place.with_name(f"{stem}-{number}{suffix}")
        return self.folder / place

    def is_photo(self, path: Path) -> bool:
        """Tell whether ``path`` is one of the photos, as far as that can be known."""
        if not path.exists():
            return False
        return identity(path) in self._named or any(search.holds(path) for search in self._searches)

    def _free(self, place: PurePath) -> bool:
        assert self.folder is not None
        # Where case doesn't count, a.jpg and A.jpg are one file.
        return not self.is_photo(self.folder / place) and self._taken.add(place.as_posix().lower())

    def _check_single(self, sources: Sequence[Source], output: str) -> None:
        assert self._picture is not None
        if all(isinstance(source, NamedFile | Search) for source in sources):
            several = sum(1 for _, _ in zip(find_photos(sources), range(2), strict=False)) > 1
        else:
            several = True
        if several:
            raise UsageError(f"--output {output} is one picture, but there may be several photos; name a folder")
        if self.is_photo(self._picture):
            raise UsageError(f"--output would overwrite the photo {self._picture}; name another folder")

    def _check_spared(self, sources: Sequence[Source], folder: Path) -> None:
        for source in sources:
            if isinstance(source, NamedFile):
                target = folder / source.path.name
                if target.exists() and identity(target) == identity(source.path):
                    raise UsageError(f"--output would overwrite the photo {target}; name another folder")
            elif isinstance(source, Search) and identity(source.base) == identity(folder):
                raise UsageError(f"--output would overwrite the photos in {folder}; name another folder")
