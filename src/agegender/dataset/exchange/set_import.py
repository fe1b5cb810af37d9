"""From another container to a set of ours: labels are read first and divided, then every image goes to its side."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest
from pathlib import Path

import numpy as np
import numpy.typing as npt

from agegender.dataset.config import PackConfig
from agegender.dataset.crew import MakeDetector
from agegender.dataset.exchange.entry import Container, Entry
from agegender.dataset.exchange.image_crops import ImageCrops
from agegender.dataset.face_record import FaceSample
from agegender.dataset.journal import Journal
from agegender.dataset.manifest import PathNames
from agegender.dataset.outgoing import outgoing_files, tell_outgoing
from agegender.dataset.pack import SKIPPED
from agegender.dataset.plan import Plan, crop_settings
from agegender.dataset.problems import Problems
from agegender.dataset.set_writer import SetWriter
from agegender.dataset.split import split
from agegender.errors import DataError, RecordError, UsageError
from agegender.face.templates import get_template
from agegender.labels import BIN_LABELS


def import_set(
    container: Container,
    config: PackConfig,
    *,
    source: str,
    template: str | None,
    name: str = "",
    split_as: str = "",
    synthetic: bool = False,
    make_detector: MakeDetector | None = None,
    problems: Problems | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Write the faces of ``container`` as a set in ``config.template`` under ``config.output``; return counts per set.

    The images are cropped to ``template``, None for loose photos. Where that is not the set's own, the face is detected
    and warped as packing does it (``make_detector`` opens a detector in each worker process); photos without a face end
    in ``problems`` and ``skipped.csv``. Otherwise JPEGs of the right size pass through unchanged. A face's source is
    ``name``, else the container's own, else ``source``. All faces of a subject go to one side; with ``split_as`` all
    faces go to that set. ``synthetic`` marks the set as drawn, as the container's own mark does.

    In memory are the labels and a few images. Raises DataError where there is no face, RecordError where an image can't
    be read; nothing has a final name then.
    """
    if template is not None:
        get_template(template)
    problems = Problems() if problems is None else problems
    crops = ImageCrops(crop_settings(config), config.workers, make_detector)
    faces, drawn = _first_reading(container, name=name, source=source, template=template, split_as=split_as)
    loose = template != config.template
    if loose and make_detector is None:
        raise UsageError(f"{source}: the images are not in the template {config.template!r}; a detector is needed")
    sides = split(faces, val_ratio=config.val_ratio, test_ratio=config.test_ratio, seed=config.seed)
    plan = Plan(sides, crops.settings, config, {})
    output = Path(config.output)
    output.mkdir(parents=True, exist_ok=True)
    journal = Journal(output)
    if journal.interrupted:
        journal.close()
        raise UsageError(f"{journal.folder} is left of an interrupted run; finish it with --resume, or remove it")
    try:
        journal.begin({"import": source})
        sets = _open_sets(journal, plan)
        side_of = {id(face): side for side, part in sides.items() for face in part}
        for done, (sample, crop) in enumerate(crops.of(_again(container, faces), detect=loose), 1):
            writer = sets[side_of[id(sample)]]
            if crop.body is None:
                problems.add(sample.path, crop.reason, crop.detail, source=sample.source)
            # A face that is left out takes no place: nothing here is resumed, and there is one shard.
            writer.write([sample], [crop], first=0)
            if progress is not None:
                progress(done, len(faces))
        if not any(writer.records for writer in sets.values()):
            raise DataError(f"{source}: in none of the {len(faces)} images a face was found")
        _publish(journal, sets, plan, problems, synthetic=synthetic or drawn)
    except BaseException:
        if journal.folder.exists():
            journal.discard()
        raise
    return {side: writer.records for side, writer in sets.items() if writer.records}


def _first_reading(
    container: Container, *, name: str, source: str, template: str | None, split_as: str
) -> tuple[list[FaceSample], bool]:
    """Return the faces without their images, and whether any of them is drawn."""
    faces, drawn, names = [], False, set[str]()
    for entry in container.read(images=False):
        faces.append(_sample(entry, name, source, template, split_as))
        drawn = drawn or entry.synthetic
        names.add(entry.name)
    if not faces:
        raise DataError(f"{source}: there is no face in it")
    if len(names) < len(faces):
        raise RecordError(f"{source}: {len(faces) - len(names)} faces have the name of another one")
    return faces, drawn


def _sample(entry: Entry, name: str, source: str, template: str | None, split_as: str) -> FaceSample:
    # ``draw`` marks a face that lies in no file; the image comes in the second reading.
    whose = name or entry.source or source
    return FaceSample(
        Path(entry.path or f"{whose}/{entry.name}"), entry.gender, entry.age, whose, entry.subject, entry.group,
        split_as, template, _nothing, low=entry.low, high=entry.high, std=entry.std, fold=entry.fold,
    )  # fmt: skip


def _nothing() -> npt.NDArray[np.uint8]:
    raise RuntimeError("this face was read for its labels alone")


def _again(container: Container, faces: Sequence[FaceSample]) -> Iterator[tuple[FaceSample, Entry]]:
    """Read the images beside the samples of the first reading."""
    entries = container.read(images=True)
    for sample, entry in zip_longest(faces, entries):
        if sample is None or entry is None or (sample.gender, sample.age) != (entry.gender, entry.age):
            raise RecordError("the container has changed while it was read: its labels are others than before")
        yield sample, entry


def _open_sets(journal: Journal, plan: Plan) -> dict[str, SetWriter]:
    names = PathNames(journal.output)
    return {
        side: SetWriter(
            journal,
            side,
            faces=len(part),
            shards=1,
            names=names,
            state={},
            bins=plan.label_columns == BIN_LABELS,
            folds=plan.has_folds,
        )
        for side, part in plan.splits.items()
        if part
    }


def _publish(journal: Journal, sets: dict[str, SetWriter], plan: Plan, problems: Problems, *, synthetic: bool) -> None:
    files: list[str] = []
    for side, writer in sets.items():
        writer.state()
        about = plan.describe(side)
        files += writer.finish({**about, "synthetic": synthetic or about["synthetic"]})
    if len(problems):
        problems.write(journal.folder / SKIPPED)
        files.append(SKIPPED)
    remove = outgoing_files(journal.output, plan.splits, coming=files)
    tell_outgoing(journal.output, remove)
    journal.publish(files, remove=remove)
