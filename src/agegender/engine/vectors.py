"""Training on embeddings instead of pictures: how long they are, which network takes them, what is not for them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from agegender.engine.config import TrainConfig
from agegender.errors import DataError, UsageError
from agegender.input_shape import is_vector
from agegender.pipeline import LoaderConfig, SetInfo, read_set_info

# What changes a picture, and what its flag is where nothing is changed. Mirroring is on unless told otherwise, so that
# nobody has asked for it.
_FOR_PICTURES = ("cutoff", "color", "jitter", "jpeg", "degrade")


def shape_of_set(data_dir: str | Path) -> tuple[int, int, int] | None:
    """Return (n, 1, 1) where train.rec in ``data_dir`` holds embeddings of n numbers; None for pictures, or no set.

    Raises DataError where its JSON can't be understood.
    """
    info = read_set_info(Path(data_dir) / "train.rec")
    return None if info is None or info.width is None else (info.width, 1, 1)


def check_body(info: SetInfo, config: TrainConfig) -> None:
    """Raise DataError where the records of a set are not what the network takes."""
    shape = config.data_shape or ()
    if not is_vector(shape):
        if info.width is not None:
            raise DataError(
                f"{info.path}: the records hold embeddings, the network {config.network!r} takes pictures "
                "(--network mlp takes embeddings)"
            )
        return
    if info.width is None:
        raise DataError(
            f"{info.path}: the records hold pictures, the network {config.network!r} takes embeddings; "
            "tools/embed.py makes a set of them"
        )
    if info.width != shape[0]:
        raise DataError(f"{info.path}: the embeddings have {info.width} numbers, the network takes {shape[0]}")


def describe(info: SetInfo | None) -> str | None:
    """Return in words which embeddings a set holds; None for pictures, and where nothing is known."""
    return f"embeddings: {_maker(info)}" if info is not None and info.embedding else None


def check_same_model(info: SetInfo, other: SetInfo) -> None:
    """Raise DataError where the embeddings of two sets were not made alike."""
    if info.embedding != other.embedding:
        raise DataError(
            f"{info.path} and {other.path}: their embeddings were not made alike "
            f"({_maker(info)}; {_maker(other)}), so they can't be used together"
        )


def without_pictures(augmentation: LoaderConfig, config: TrainConfig) -> LoaderConfig:
    """Return ``augmentation`` as it is for pictures, with nothing random for embeddings.

    Raises UsageError for a flag that changes pictures where the network takes embeddings.
    """
    if not is_vector(config.data_shape or ()):
        return augmentation
    given = [name for name in _FOR_PICTURES if getattr(augmentation, name)]
    if given:
        flags = ", ".join(f"--{name}" for name in given)
        raise UsageError(f"{flags}: these change pictures, and the network {config.network!r} takes embeddings")
    return replace(augmentation, rand_mirror=False)


def _maker(info: SetInfo) -> str:
    embedding = info.embedding
    normalised = ", normalised" if embedding.get("normalised") else ""
    return f"{embedding.get('size')} numbers by {embedding.get('model', 'an unknown model')}{normalised}"
