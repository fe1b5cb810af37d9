"""One batch job: Ray started or joined, photos streamed to the workers, their rows taken in and written."""

from __future__ import annotations

import dataclasses
import logging
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from agegender import ray_session as ray_base
from agegender.app.inference.report import Progress, say
from agegender.app.pinned_model import pinned_model
from agegender.errors import DeviceError, UsageError
from tools import batch_output, batch_source, batch_worker
from tools.batch_output import ParquetFolder, read_images
from tools.batch_source import Input

if TYPE_CHECKING:
    import pyarrow as pa

    from agegender.app.inference.config import InferConfig

# How often a batch whose worker died is tried again.
_RETRIES = 2
_ERRORS_SHOWN = 20


@contextmanager
def ray_session(address: str, *, cores: int | None = None) -> Iterator[ModuleType]:
    """Yield ray with Ray Data, connected and quiet; arguments and errors as in ``agegender.ray_session``."""
    with ray_base.ray_session(address, flag="--address", cores=cores) as ray:
        import ray.data

        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"ray\.")
        # Ray 2.60 has no other name for max_task_retries yet.
        warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
        # Of a few photos, which one worker takes at once.
        warnings.filterwarnings("ignore", message="The minimum number of concurrent actors")
        yield ray


@dataclasses.dataclass(kw_only=True)
class Job:
    """One job. ``infer`` names the model as all machines find it; the workers' folder is the current one.

    ``photos``, ``faces`` and ``failed`` count what this run did, ``before`` and ``failed_before`` what was there.
    """

    infer: InferConfig
    source: Input
    output: ParquetFolder
    batch_size: int
    concurrency: int | None
    num_gpus: float
    photos: int = 0
    faces: int = 0
    failed: int = 0
    before: int = 0
    failed_before: int = 0

    def run(self, ray: ModuleType) -> None:
        """Go through the photos that ``output`` doesn't have yet.

        Raises UsageError and DeviceError for more than the cluster has, AgeGenderError where the job broke.
        """
        for _, failed in read_images(self.output.before):
            self.before += 1
            self.failed_before += failed
        dataset = self._dataset(ray, self._workers(ray.cluster_resources()))
        with closing(Progress(self.source.photos)) as progress:
            for _ in range(self.before):
                progress.step(skipped=True)
            try:
                self._take(dataset.iter_batches(batch_size=None, batch_format="pyarrow"), progress)
            except ray.exceptions.RayError as error:
                raise ray_base.error_of_ray(error) from error

    def say_end(self) -> None:
        """Print the sums."""
        folder = self.output.folder
        if self.before:
            say(f"in {folder} already and left out: {self.before}", sys.stderr)
        say(f"written to {folder}: photos {self.photos}, faces {self.faces}, files {self.output.written}")
        if self.failed:
            say(f"{self.failed} of {self.photos} photos could not be read (column error)", sys.stderr)
        if self.failed_before:
            say(f"could not be read before: {self.failed_before} (column error)", sys.stderr)

    def _workers(self, resources: dict[str, float]) -> int:
        """Return how many workers there are to be."""
        cores, gpus = int(resources.get("CPU", 0)), resources.get("GPU", 0.0)
        room = int(gpus / self.num_gpus + 1e-6) if self.num_gpus else cores
        if not room:
            what = f"--num_gpus_per_worker {self.num_gpus:g}: Ray has {gpus:g} GPUs" if self.num_gpus else "no core"
            raise DeviceError(f"{what} here, so that no worker can start")
        if self.concurrency is not None and self.concurrency > room:
            what = f"{gpus:g} GPUs" if self.num_gpus else f"{cores} cores"
            raise UsageError(f"--concurrency {self.concurrency}: Ray has {what} here, enough for {room}")
        return self.concurrency or min(room, cores)

    def _dataset(self, ray: ModuleType, workers: int) -> Any:
        for module in (batch_source, batch_output, batch_worker):
            # Other machines have the package, not this folder.
            ray.cloudpickle.register_pickle_by_value(module)
        context = ray.data.DataContext.get_current()
        # A row is a batch already; Ray would gather a million of them for one worker.
        context.target_max_block_size = 1
        context.enable_progress_bars = context.print_on_execution_start = False
        done = [path.absolute() for path in self.output.before]
        # Where the manifest and the output are; without a core of its own, since the workers take them all.
        here = {"ray.io/node-id": ray.get_runtime_context().get_node_id()}
        photos = ray.data.read_datasource(
            batch_worker.photo_source(self.source, done=done, batch_size=self.batch_size),
            override_num_blocks=1,
            num_cpus=0,
            label_selector=here,
        )
        return photos.map_batches(
            batch_worker.FaceWorker,
            fn_constructor_args=(self.infer, str(Path.cwd())),
            batch_size=1,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=workers),
            num_cpus=1,
            num_gpus=self.num_gpus or None,
            max_task_retries=_RETRIES,
        )

    def _take(self, tables: Iterable[pa.Table], progress: Progress) -> None:
        for table in tables:
            rows = batch_worker.rows_in(table)
            errors = rows["error"].drop_null().to_pylist()
            # As many as the rows that begin a photo.
            photos = pc.sum(pc.fill_null(pc.less_equal(rows["face"], 1), True)).as_py() or 0
            self.output.add(rows)
            for error in errors[: max(0, _ERRORS_SHOWN - self.failed)]:
                say(f"error: {error}", sys.stderr)
            self.photos += photos
            self.faces += rows.num_rows - rows["face"].null_count
            self.failed += len(errors)
            for _ in range(photos):
                progress.step()


def pin_model(config: InferConfig) -> InferConfig:
    """Return ``config`` with models named so that every machine and a later run take the same ones.

    Shipped models keep their name, other paths become absolute, each gets its epoch. Raises what ``find_model`` does.
    """
    pinned: dict[str, str] = {}
    pair = config.age_model is not None
    for name in ("age_model", "gender_model") if pair else ("model",):
        pinned[name] = pinned_model(getattr(config, name))
    if config.det_model is not None and Path(config.det_model).expanduser().exists():
        pinned["det_model"] = str(Path(config.det_model).expanduser().absolute())
    return dataclasses.replace(config, **pinned)  # type: ignore[arg-type]
