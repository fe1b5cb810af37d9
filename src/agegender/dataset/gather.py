"""Looking for faces: which sources there are, and all of their faces."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agegender.dataset.config import PackConfig
from agegender.dataset.face_record import FaceSample
from agegender.dataset.problems import Problems
from agegender.dataset.sources import Source, SourceOptions, find_sources, list_source, synthetic_source
from agegender.errors import UsageError


@dataclass(frozen=True)
class Faces:
    """All faces of some sources; ``problems`` has what the sources left out.

    ``listed`` names the datasets of which a list file is to be written: those that come without one.
    """

    samples: list[FaceSample]
    problems: Problems
    listed: list[str]


def choose_sources(config: PackConfig) -> list[Source]:
    """Return the sources that ``config`` asks for; empty where it asks for whatever is found and nothing is.

    Raises UsageError for an unknown source or list, and where synthetic faces are asked for among photographs.
    """
    if config.synthetic:
        if config.sources or config.list:
            raise UsageError("--synthetic draws faces: they are not to be mixed with --sources or --list")
        return [synthetic_source(config.synthetic, seed=config.seed, size=config.image_size)]
    lists = [list_source(file) for file in config.list]
    if lists and not config.sources:
        return lists
    return [*find_sources(Path(config.root), config.sources, options=_options(config)), *lists]


def _options(config: PackConfig) -> SourceOptions:
    """Return the sources' choices. Raises UsageError for shares that are none."""
    if not 0.0 <= config.max_second_face <= 1.0:
        raise UsageError(f"--max_second_face {config.max_second_face} is not within 0..1 (a share of the first score)")
    return SourceOptions(
        min_face_score=config.min_face_score,
        max_second_face=config.max_second_face,
        adience_images=config.adience,
        adience_bins=config.adience_bins,
        appa_age=config.appa_age,
    )


def gather_faces(sources: list[Source], root: Path) -> Faces:
    """Return the faces of ``sources``. Raises DataError where a whole dataset is damaged."""
    problems = Problems()
    samples = [sample for source in sources for sample in source.samples(root, problems)]
    listed = [source.name for source in sources if source.folders or source.name == "synthetic"]
    return Faces(samples, problems, listed)
