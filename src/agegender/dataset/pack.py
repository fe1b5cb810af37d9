"""Packing: faces of all sources into the records of train, val and test."""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from agegender.cores import usable_cores
from agegender.dataset.config import PackConfig
from agegender.dataset.crew import Chunk, Crew, MakeDetector
from agegender.dataset.crop import Crop
from agegender.dataset.duplicates import drop_duplicates, file_sizes
from agegender.dataset.face_record import FaceSample
from agegender.dataset.journal import Journal
from agegender.dataset.list_file import LIST_SUFFIX, write_list
from agegender.dataset.manifest import PathNames
from agegender.dataset.outgoing import outgoing_files, tell_outgoing
from agegender.dataset.plan import Plan, crop_settings, make_plan
from agegender.dataset.problems import Problems
from agegender.dataset.ray_crew import RayCrew
from agegender.dataset.report import PackReport, count_sources
from agegender.dataset.set_writer import SetWriter
from agegender.dataset.skipped import SkippedFaces
from agegender.errors import DataError, UsageError
from agegender.labels import BIN_LABELS
from agegender.ray_session import require_ray

log = logging.getLogger(__name__)

SKIPPED = "skipped.csv"
# What a killed run loses at most.
STATE_SECONDS = 2.0
# Faces per task: of threads, of processes that detect (some 30 ms each), and of actors that detect, since a task of
# Ray's costs the one process that writes a millisecond, whatever the size of the cluster.
_CHUNK, _DETECT_CHUNK, _RAY_DETECT_CHUNK = 64, 8, 32

# Takes the phase (comparing files, packing), how much is done and how much there is.
Progress = Callable[[str, int, int], None]
COMPARING, PACKING = "comparing", "packing"


def pack(
    samples: Iterable[FaceSample],
    config: PackConfig,
    *,
    make_detector: MakeDetector | None = None,
    problems: Problems | None = None,
    listed: Collection[str] = (),
    progress: Progress | None = None,
) -> PackReport:
    """Pack ``samples`` into ``train.rec``, ``val.rec``, ``test.rec`` and what belongs to them under ``config.output``.

    Exact duplicates are dropped, subjects stay on one side of the split. A face in the template ``config.template`` is
    resized (its file passes through byte for byte where it is a JPEG of that size already); in any other image the
    largest central face is detected and warped. ``make_detector`` opens a detector in each worker process and can be
    pickled. ``problems`` holds what the sources left out already; of the sources in ``listed`` a list file is written.
    ``progress(phase, done, total)`` counts files compared and faces packed.

    The files get their final names all at the end. A run that is killed leaves ``<output>/.partial``, from which one
    with ``config.resume`` goes on; it gives the same bytes. With ``config.ray`` the faces are cropped on a Ray cluster
    and written here, the same bytes again, so that a run may also go on with or without it. Raises UsageError for
    impossible options, DataError where nothing could be packed, AgeGenderError where a worker died, OSError where the
    disk is full.
    """
    problems = Problems() if problems is None else problems
    crop_settings(config)  # wrong options are told before the files are looked at
    if config.ray is not None:
        require_ray()
    output = Path(config.output)
    output.mkdir(parents=True, exist_ok=True)
    faces = list(samples)
    sizes = file_sizes(faces, workers=config.workers)
    compared = None if progress is None else partial(progress, COMPARING)
    faces = drop_duplicates(faces, problems, sizes=sizes, workers=config.workers, progress=compared)
    if not faces:
        raise _nothing_packed(problems, output)
    plan = make_plan(faces, config, sizes=sizes)
    return pack_plan(plan, problems, make_detector=make_detector, listed=listed, progress=progress)


def pack_plan(
    plan: Plan,
    problems: Problems,
    *,
    make_detector: MakeDetector | None = None,
    listed: Collection[str] = (),
    progress: Progress | None = None,
) -> PackReport:
    """Pack what ``plan`` says; arguments and errors as in ``pack``."""
    config = plan.config
    if make_detector is None and plan.detects:
        raise UsageError(f"some faces are not in the template {config.template!r}, and no face detector was given")
    journal = Journal(Path(config.output))
    try:
        if journal.complete:
            journal = _finish_earlier(journal)
        with _open_crew(plan, make_detector) as crew:
            job = _Job(plan, journal, problems)
            job.run(crew, progress)
        return job.publish(listed)
    finally:
        journal.close()


def _open_crew(plan: Plan, make_detector: MakeDetector | None) -> Crew | RayCrew:
    config = plan.config
    if config.ray is None:
        workers = usable_cores() if config.workers is None else config.workers
        return Crew(plan.settings, workers=workers, make_detector=make_detector)
    return RayCrew(
        plan.settings,
        address=config.ray,
        actors=config.ray_actors,
        make_detector=make_detector if plan.detects else None,
    )


class _Job:
    """A packing run: the growing sets, and how far it is."""

    def __init__(self, plan: Plan, journal: Journal, problems: Problems) -> None:
        self.plan, self.config, self.journal, self.problems = plan, plan.config, journal, problems
        config = plan.config
        state = _start(journal, plan, resume=config.resume)
        self.done = self.resumed = int(state.get("done", 0))
        self.skipped = SkippedFaces(journal, problems, size=state.get("skipped", 0))
        self.sets: dict[str, SetWriter] = {}
        names = PathNames(Path(config.output))
        states = state.get("sets", {})
        for split, faces in plan.splits.items():
            if faces:
                # A val set is a twentieth of the training set and read by one process: it stays one file.
                shards = config.shards if split == "train" else 1
                self.sets[split] = SetWriter(
                    journal,
                    split,
                    faces=len(faces),
                    shards=shards,
                    names=names,
                    state=states.get(split, {}),
                    bins=plan.label_columns == BIN_LABELS,
                    folds=plan.has_folds,
                )
        self.told = self._outgoing([name for writer in self.sets.values() for name in writer.names])
        tell_outgoing(Path(config.output), self.told)

    def run(self, crew: Crew | RayCrew, progress: Progress | None) -> None:
        """Crop and write all faces that are left."""
        noted = time.monotonic()
        if progress is not None:
            progress(PACKING, self.done, self.plan.total)
        for chunk, crops in crew.crop(self._chunks()):
            self._write(chunk, crops)
            if progress is not None:
                progress(PACKING, self.done, self.plan.total)
            if time.monotonic() - noted > STATE_SECONDS:
                self.journal.note(self._state())
                noted = time.monotonic()

    def publish(self, listed: Collection[str]) -> PackReport:
        """Give all files their final names and return the report."""
        output = Path(self.config.output)
        packed = sum((writer.sources for writer in self.sets.values()), Counter())
        report = PackReport(
            splits={split: writer.records for split, writer in self.sets.items()},
            sources=count_sources(packed, self.problems, names=listed),
            problems=self.problems,
            files=[],
            resumed=self.resumed,
        )
        if not report.packed:
            self.journal.discard()
            raise _nothing_packed(self.problems, output)
        files: list[str] = []
        for split, writer in self.sets.items():
            writer.state()
            files += writer.finish(self.plan.describe(split))
        self.problems.write(self.journal.folder / SKIPPED)
        files.append(SKIPPED)
        lists = self._write_lists(output, listed)
        remove = self._outgoing(files)
        # Of a set that was to have faces, and whose images were all left out.
        tell_outgoing(output, [name for name in remove if name not in self.told])
        self.journal.publish(files, remove=remove)
        report.files = [*files, *lists]
        return report

    def _outgoing(self, coming: Collection[str]) -> list[str]:
        return outgoing_files(Path(self.config.output), self.plan.splits, coming=coming)

    def _chunks(self) -> Iterator[Chunk]:
        """Yield what is left to do, in order, no chunk over the end of a set."""
        detect_chunk = _DETECT_CHUNK if self.config.ray is None else _RAY_DETECT_CHUNK
        begin = 0
        for faces in self.plan.splits.values():
            end = begin + len(faces)
            position = max(begin, self.done)
            while position < end:
                part = faces[position - begin : position - begin + _CHUNK]
                detect = self.plan.detects and any(map(self.plan.needs_detector, part))
                part = part[:detect_chunk] if detect else part
                yield Chunk(position, part, detect)
                position += len(part)
            begin = end

    def _write(self, chunk: Chunk, crops: list[Crop]) -> None:
        split, begin = self.plan.locate(chunk.first)
        self.sets[split].write(chunk.samples, crops, first=chunk.first - begin)
        self.skipped.add(chunk.samples, crops)
        self.done = chunk.first + len(chunk.samples)

    def _state(self) -> dict[str, Any]:
        sets = {split: writer.state() for split, writer in self.sets.items()}
        return {"done": self.done, "skipped": self.skipped.sync(), "sets": sets}

    def _write_lists(self, output: Path, listed: Collection[str]) -> list[str]:
        """Write a list file per source in ``listed``, each face with the split that it went to."""
        names = []
        for source in sorted(set(listed)):
            faces = [
                replace(face, split=split)
                for split, part in self.plan.splits.items()
                for face in part
                if face.source == source
            ]
            if faces:
                names.append(f"{source}{LIST_SUFFIX}.txt")
                write_list(output / names[-1], sorted(faces, key=lambda face: face.sort_key))
        return names


def _start(journal: Journal, plan: Plan, *, resume: bool) -> dict[str, Any]:
    """Return the state to go on from; empty for a start from nothing."""
    if resume and journal.interrupted:
        return journal.resume(plan.identity)
    if resume:
        log.info("nothing to resume in %s: starting from the beginning", journal.folder)
    elif journal.interrupted:
        log.info("dropping what an interrupted run left in %s (--resume goes on with it)", journal.folder)
    journal.begin(plan.identity)
    return {}


def _nothing_packed(problems: Problems, output: Path) -> DataError:
    """Write the list of skipped faces and return the error that points there."""
    if not len(problems):
        return DataError("there is no face to pack: the chosen datasets have no images")
    problems.write(output / SKIPPED)
    reasons = ", ".join(f"{count} {reason}" for reason, count in problems.counts().most_common())
    return DataError(f"there is no face to pack ({reasons}); {output / SKIPPED} lists them")


def _finish_earlier(journal: Journal) -> Journal:
    """Do the last renames of a run that was killed in the middle of them."""
    log.info("%s: finishing the set that an earlier run had complete", journal.output)
    journal.finish()
    return Journal(journal.output)
