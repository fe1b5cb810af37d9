"""Photos in, faces out: finding, reading ahead, predicting, writing, one photo after the other."""

from __future__ import annotations

import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from agegender.app.inference.ahead import ReadAhead
from agegender.app.inference.config import STANDARD_OUTPUT, InferConfig
from agegender.app.inference.maker import Maker
from agegender.app.inference.model import find_models, open_found
from agegender.app.inference.report import Progress, say, say_faces, show
from agegender.app.inference.results import ResultFile, as_object, open_results
from agegender.app.inference.sources import Found, Listed, NamedFile, Source, find_photos, open_sources
from agegender.app.inference.targets import Targets, picture_folder
from agegender.app.inference.texts import text
from agegender.app.named_files import check_outputs
from agegender.cores import usable_cores
from agegender.deploy.draw import draw_faces
from agegender.deploy.face import Face
from agegender.deploy.sheet import ContactSheet
from agegender.errors import INTERRUPTED, ImageError, UsageError
from agegender.face.photo import read_photo, write_photo

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from agegender.deploy.predict import Predictor

    Pixels = npt.NDArray[np.uint8]

# Decoded photos that may wait for the model; each takes three bytes a pixel.
_AHEAD = 3


@dataclass(frozen=True)
class Job:
    """A photo to go through, and the picture to write."""

    found: Found
    target: Path | None

    @property
    def image(self) -> str:
        """Return what the results call the photo."""
        return str(self.found.path)


@dataclass
class Tally:
    """What has been done so far."""

    photos: int = 0
    faces: int = 0
    failed: int = 0
    skipped: int = 0


def annotate_photos(names: Sequence[str], config: InferConfig, *, lang: str, tally: Tally | None = None) -> int:
    """Go through the photos that ``names`` mean: 0 where all could be read, 1 where some could not, 130 after Ctrl-C.

    ``tally`` counts what is done. Raises UsageError for names and options that can't be meant, before anything is
    written, and where ``--resume`` meets a file of another model.
    """
    sources = open_sources(names, leave_out=picture_folder(config.output))
    targets = Targets(sources, config.output)
    check_files(config, targets)
    models = find_models(config, lang=lang)
    predictor = open_found(config, models)
    with ExitStack() as stack:
        results = open_results(
            json_file=config.files.get("--json"),
            csv_file=config.csv,
            resume=config.resume,
            distribution=config.distribution,
            passes=config.mc_dropout is not None,
            maker=Maker.of(models) if {"--json", "--csv"} & set(config.files) else None,
        )
        for file in results:
            stack.callback(file.close)
        run = Run(config=config, lang=lang, predictor=predictor, results=results, tally=tally or Tally())
        return run(sources, targets)


def check_files(config: InferConfig, targets: Targets) -> None:
    """Raise UsageError where a file of results can't be written or would overwrite a photo."""
    for name in config.files.values():
        Path(name).parent.mkdir(parents=True, exist_ok=True)
    check_outputs(config.files)
    for flag, name in config.files.items():
        if targets.is_photo(Path(name)):
            raise UsageError(f"{flag} {name} would overwrite one of the photos; name another file")


@dataclass(kw_only=True)
class Run:
    """One run over photos. What is known of a photo is written before the next one is looked at."""

    config: InferConfig
    lang: str
    predictor: Predictor
    results: Sequence[ResultFile]
    tally: Tally = field(default_factory=Tally)

    def __call__(self, sources: Sequence[Source], targets: Targets) -> int:
        """Go through the photos and return the exit code."""
        sheet = None if self.config.contact_sheet is None else ContactSheet(lang=self.lang)
        progress = open_progress(sources)
        jobs = self._jobs(sources, targets, progress)
        photos = ReadAhead(jobs, read_job, workers=min(2, usable_cores()), ahead=_AHEAD)
        try:
            for job, reading in photos:
                self._finish(job, reading, sheet)
                progress.step()
        except (KeyboardInterrupt, OSError) as error:
            progress.close()
            self._say_stopped()
            if isinstance(error, KeyboardInterrupt):
                return INTERRUPTED
            raise
        finally:
            photos.close()
            progress.close()
        if sheet is not None and self.config.contact_sheet is not None:
            self._write_sheet(sheet, self.config.contact_sheet)
        return self._say_end(several=not is_single(sources))

    def _jobs(self, sources: Sequence[Source], targets: Targets, progress: Progress) -> Iterator[Job]:
        """Yield what is to be done: photos that are not in all results yet."""
        for found in find_photos(sources):
            # Named also where the photo is skipped, so that a resumed run gives the names of an unbroken one.
            target = None if found.error else targets(found)
            if self.results and all(file.has(str(found.path)) for file in self.results):
                self.tally.skipped += 1
                progress.step(skipped=True)
            else:
                yield Job(found, target)

    def _finish(self, job: Job, reading: Future[Pixels], sheet: ContactSheet | None) -> None:
        self.tally.photos += 1
        try:
            image = reading.result()
        except ImageError as error:
            self.tally.failed += 1
            say(f"error: {error}", sys.stderr)
            self._write(job, [], str(error))
            return
        faces = self.predictor.predict(image)
        self.tally.faces += len(faces)
        if job.target is not None or self.config.show:
            picture = draw_faces(image, faces, lang=self.lang)
            if job.target is not None:
                job.target.parent.mkdir(parents=True, exist_ok=True)
                write_photo(job.target, picture)
        if sheet is not None:
            for face in faces:
                sheet.add(image, face, name=job.found.path.name)
        self._write(job, faces)
        if self.config.show and not show(picture, job.image):
            key = "no_window_at_all" if job.target is None else "no_window"
            say(text(key, self.lang, output=job.target), sys.stderr)

    def _write(self, job: Job, faces: Sequence[Face], error: str | None = None) -> None:
        for file in self.results:
            if not file.has(job.image):
                file.write(job.image, faces, error)
        if self.config.json == STANDARD_OUTPUT:
            value = as_object(job.image, faces, error, distribution=self.config.distribution)
            say(json.dumps(value))
        elif not self.results and error is None:
            say_faces(job.image, faces, job.target, lang=self.lang)

    def _write_sheet(self, sheet: ContactSheet, file: str) -> None:
        if not sheet.total:
            say(text("sheet_none", self.lang), sys.stderr)
            return
        write_photo(file, sheet.picture())
        key = "sheet" if len(sheet) == sheet.total else "sheet_part"
        say(text(key, self.lang, file=file, n=len(sheet), total=sheet.total), self._summary_stream())

    def _say_end(self, *, several: bool) -> int:
        """Print the sums and return the exit code."""
        tally, files = self.tally, self._files()
        if tally.skipped:
            say(text("skipped", self.lang, n=tally.skipped, files=files), sys.stderr)
        if self.results:
            line = text("written", self.lang, photos=tally.photos, faces=tally.faces, files=files)
            say(line, self._summary_stream())
        if tally.failed and several:
            say(text("failed", self.lang, failed=tally.failed, total=tally.photos), sys.stderr)
        before = max((file.failed for file in self.results), default=0)
        if before:
            say(text("failed_before", self.lang, failed=before, files=files), sys.stderr)
        return 1 if tally.failed or before else 0

    def _say_stopped(self) -> None:
        key = "go_on" if self.results else "stopped"
        say(text(key, self.lang, n=self.tally.photos, files=self._files()), sys.stderr)

    def _files(self) -> str:
        return ", ".join(str(file.path) for file in self.results)

    def _summary_stream(self) -> TextIO:
        return sys.stderr if self.config.json == STANDARD_OUTPUT else sys.stdout


def read_job(job: Job) -> Pixels:
    """Return the photo (H, W, 3) uint8 RGB. Raises ImageError where there is none."""
    if job.found.error is not None:
        raise ImageError(job.found.error)
    return read_photo(job.found.path)


def open_progress(sources: Sequence[Source]) -> Progress:
    """Return what shows how far it is. What a list on standard input holds can't be counted beforehand."""
    if is_single(sources):
        return Progress(None, shown=False)
    known = [source for source in sources if not isinstance(source, Listed)]
    if len(known) < len(sources):
        return Progress(None)
    return Progress(lambda: itertools.chain.from_iterable(source.photos() for source in known))


def is_single(sources: Sequence[Source]) -> bool:
    """Tell whether one photo was named and nothing else."""
    return len(sources) == 1 and isinstance(sources[0], NamedFile)
