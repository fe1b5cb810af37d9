"""The plan of a packing run: which face goes into which set, in which order, and what the crops look like."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from agegender.dataset.config import PackConfig
from agegender.dataset.crop import CropSettings, needs_detector
from agegender.dataset.duplicates import Sizes
from agegender.dataset.face_record import FaceSample
from agegender.dataset.manifest import forward
from agegender.dataset.sources.synthetic import NAME as SYNTHETIC
from agegender.dataset.split import split
from agegender.errors import UsageError
from agegender.face.align import BORDERS
from agegender.face.templates import get_template
from agegender.labels import BIN_LABELS, LABELS

# A change of the files in the partial folder, or of the bytes that the same plan gives, takes a new number.
VERSION = 1
_DIGEST_ROWS = 1024


@dataclass(frozen=True)
class Plan:
    """``splits`` has the faces of train, val and test in the order of their records; ``sizes`` those of their files."""

    splits: dict[str, list[FaceSample]]
    settings: CropSettings
    config: PackConfig
    sizes: Sizes

    @property
    def total(self) -> int:
        """The number of faces."""
        return sum(len(faces) for faces in self.splits.values())

    @cached_property
    def detects(self) -> bool:
        """Whether any face has to be detected."""
        return any(self.needs_detector(face) for faces in self.splits.values() for face in faces)

    @cached_property
    def identity(self) -> dict[str, Any]:
        """What has to be the same for a run to go on with this one's files: options, and a digest of the data."""
        config = self.config
        names = ("template", "image_size", "quality", "border", "min_face", "val_ratio", "test_ratio", "seed", "shards")
        options = {name: getattr(config, name) for name in names}
        points = [list(point) for point in self.settings.template.points]
        return {"version": VERSION, **options, "points": points, "faces": self.total, "data": self._digest()}

    @cached_property
    def label_columns(self) -> str:
        """What the records' labels hold: further columns in all of them where any face has a bin or a deviation."""
        faces = (face for part in self.splits.values() for face in part)
        return BIN_LABELS if any(face.low >= 0 or face.std >= 0 for face in faces) else LABELS

    @cached_property
    def has_folds(self) -> bool:
        """Whether any face is in a fold of its set's own."""
        return any(face.fold for part in self.splits.values() for face in part)

    def needs_detector(self, face: FaceSample) -> bool:
        """Tell whether a face has to be found in its image."""
        return needs_detector(face, self.settings)

    def locate(self, position: int) -> tuple[str, int]:
        """Return the set that the face at ``position`` of the whole plan goes to, and the position of its first."""
        begin = 0
        for name, faces in self.splits.items():
            if position < begin + len(faces):
                return name, begin
            begin += len(faces)
        raise IndexError(position)

    def describe(self, split_name: str) -> dict[str, Any]:
        """Return what the set's JSON says about options."""
        config, settings = self.config, self.settings
        rule = {
            "val_ratio": config.val_ratio,
            "test_ratio": config.test_ratio,
            "seed": config.seed,
            "own": "a source's own split wins; a subject stays on one side",
        }
        return {
            "labels": self.label_columns,
            "synthetic": any(face.source == SYNTHETIC for face in self.splits[split_name]),
            "template": settings.template.to_json(settings.size),
            "split_rule": rule,
            "quality": settings.quality,
            "border": settings.border,
            "min_face": settings.min_face,
            "seed": settings.seed,
        }

    def _digest(self) -> str:
        """Digest the faces in their order: names, labels, what they are, and the sizes of their files."""
        digest = hashlib.sha256()
        for name, faces in self.splits.items():
            digest.update(f"{name}\n".encode())
            for first in range(0, len(faces), _DIGEST_ROWS):
                rows = [self._identify(face) for face in faces[first : first + _DIGEST_ROWS]]
                digest.update("".join(rows).encode("utf-8", "surrogateescape"))
        return digest.hexdigest()

    def _identify(self, face: FaceSample) -> str:
        labels = f"{face.gender}\0{face.age}\0{face.source}\0{face.subject}\0{face.group}\0{face.template}"
        if face.low >= 0 or face.std >= 0 or face.fold or face.box:
            labels += f"\0{face.low}\0{face.high}\0{face.std}\0{face.fold}\0{face.box}"
        return f"{forward(face.path)}\0{self.sizes.get(face.path)}\0{labels}\n"


def make_plan(samples: Iterable[FaceSample], config: PackConfig, *, sizes: Sizes) -> Plan:
    """Divide ``samples`` and order them: training faces shuffled by the seed, the others by name.

    ``sizes`` has the sizes of their files, a change of which makes it another plan.

    Raises UsageError for impossible options and more shards than faces.
    """
    splits = split(samples, val_ratio=config.val_ratio, test_ratio=config.test_ratio, seed=config.seed)
    train = splits["train"]
    if config.shards > max(len(train), 1):
        raise UsageError(f"--shards {config.shards}: there are only {len(train)} faces to train on")
    # Sources mixed: shards are alike, and who reads the file from its beginning meets all of them.
    order = np.random.default_rng(config.seed).permutation(len(train)).tolist()
    return Plan({**splits, "train": [train[position] for position in order]}, crop_settings(config), config, sizes)


def crop_settings(config: PackConfig) -> CropSettings:
    """Return what the options say about the crops. Raises UsageError for a number out of range or an unknown name."""
    checks = (
        ("image_size", config.image_size, 16, 4096),
        ("quality", config.quality, 1, 100),
        ("min_face", config.min_face, 12, 100_000),
        ("shards", config.shards, 1, 99_999),
        ("workers", 1 if config.workers is None else config.workers, 1, 1024),
        ("ray_actors", 1 if config.ray_actors is None else config.ray_actors, 1, 100_000),
        ("seed", config.seed, 0, 2**63 - 1),
    )
    for name, value, low, high in checks:
        if not low <= value <= high:
            raise UsageError(f"--{name} {value} is not within {low}..{high}")
    if config.ray_actors is not None and config.ray is None:
        raise UsageError(f"--ray_actors {config.ray_actors}: only with --ray (local, auto or HOST:PORT)")
    if config.border not in BORDERS:
        raise UsageError(f"--border {config.border!r} is none of {', '.join(BORDERS)}")
    return CropSettings(
        template=get_template(config.template),
        size=config.image_size,
        quality=config.quality,
        border=config.border,
        min_face=config.min_face,
        seed=config.seed,
    )
