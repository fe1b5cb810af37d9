"""Whether a set holds what a model takes: pictures, or the embeddings that it learned from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from agegender.errors import DataError, UsageError

if TYPE_CHECKING:
    from agegender.app.evaluation.faces import ModelCrop
    from agegender.pipeline.set_info import SetInfo


def check_kind(info: SetInfo | None, crop: ModelCrop, path: Path, *, flip: bool = False) -> None:
    """Raise DataError where the set ``path`` holds pictures and the model takes embeddings, or the other way round.

    Raises UsageError where the embeddings are others than those that the model learned from, and for ``flip``, which
    embeddings can't be.
    """
    if crop.embedding is None:
        if info is not None:
            info.pictures()
        return
    width = crop.size[0]
    if flip:
        raise UsageError(
            "--flip mirrors pictures, and the model takes embeddings (tools/embed.py --flip averages them)"
        )
    if info is None:
        return  # a record that holds something else is named when it is read
    if info.width is None:
        raise DataError(
            f"{info.path}: the records hold pictures, the model takes embeddings of {width} numbers "
            "(tools/embed.py makes a set of them)"
        )
    if info.width != width:
        raise DataError(f"{info.path}: the embeddings have {info.width} numbers, the model takes {width}")
    different = [name for name, value in crop.embedding.items() if info.embedding.get(name) != value]
    if different:
        name = different[0]
        raise UsageError(
            f"{path}: these embeddings are others than those that the model learned from "
            f"({name}: {info.embedding.get(name)!r}, not {crop.embedding[name]!r})"
        )
