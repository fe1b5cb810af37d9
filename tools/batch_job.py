"""One batch job: Ray started or joined, photos streamed to the workers, their rows taken in and written."""

from __future__ import annotations

import dataclasses
import logging
import os
import signal
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pyarrow.compute as pc

from agegender.app.infer_report import Progress, say
from agegender.cores import usable_cores
from agegender.errors import AgeGenderError, DeviceError, UsageError
from tools import batch_output, batch_source, batch_worker
from tools.batch_output import ParquetFolder, read_images
from tools.batch_source import Input

if TYPE_CHECKING:
    import pyarrow as pa

    from agegender.app.infer_config import InferConfig

LOCAL = "local"
# Only names of photos and rows of results go through it, never pictures.
_OBJECT_STORE_BYTES = 200 * 2**20
# How often a batch whose worker died is tried again.
_RETRIES = 2
_ERRORS_SHOWN = 20
_PACKAGE = str(Path(__file__).resolve().parents[1] / "src")


@contextmanager
def ray_session(address: str, *, cores: int | None = None) -> Iterator[ModuleType]:
    """Yield ray, connected: to a Ray of this machine that ends with the context, or to the cluster at ``address``.

    A Ray that this process is connected to already is used as it is. ``cores`` are those of this machine that it may
    take, by default all. Raises UsageError where no cluster runs at ``address``.
    """
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Notes of Ray's C++ parts on its own actors, which nobody can act on. Both are read when ray is imported.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    import ray
    import ray.data

    _ignore_warnings()
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    if ray.is_initialized():
        yield ray
        return
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address == LOCAL:
        # The workers of a checkout that isn't installed find the package here.
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (_PACKAGE, os.environ.get("PYTHONPATH"))))
        size = {"num_cpus": cores or usable_cores(), "object_store_memory": _OBJECT_STORE_BYTES}
        quiet |= {"include_dashboard": False, **size}
    try:
        with _late_interrupt(), _quiet_start():
            ray.init(address=address, **quiet)
        yield ray
    except (ConnectionError, ValueError) as error:
        if ray.is_initialized():
            raise
        raise UsageError(
            f"--address {address}: no Ray cluster is there; ray start --head starts one here, and --address local "
            f"needs none ({_first_line(error)})"
        ) from error
    finally:
        ray.shutdown()


def _ignore_warnings() -> None:
    """Ignore what Ray warns of that is meant to be so; after its import, which shows all its own warnings."""
    warnings.filterwarnings("ignore", category=DeprecationWarning, module=r"ray\.")
    # Ray 2.60 has no other name for max_task_retries yet.
    warnings.filterwarnings("ignore", message="`ray_remote_args` is deprecated")
    # Of a few photos, which one worker takes at once.
    warnings.filterwarnings("ignore", message="The minimum number of concurrent actors")


@contextmanager
def _late_interrupt() -> Iterator[None]:
    """Put Ctrl-C off until the end of the context: Ray crashes where it meets one while it starts."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    asked: list[int] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: asked.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if asked:
        raise KeyboardInterrupt


@contextmanager
def _quiet_start() -> Iterator[None]:
    """Keep back what Ray's C++ parts write to standard error while they start, unless they don't."""
    sys.stderr.flush()
    kept = os.dup(2)
    with tempfile.TemporaryFile() as written:
        try:
            os.dup2(written.fileno(), 2)
            yield
        except BaseException:
            written.seek(0)
            os.write(kept, written.read())
            raise
        finally:
            os.dup2(kept, 2)
            os.close(kept)


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
                raise _as_ours(error) from error

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
        pinned[name] = _pinned(getattr(config, name))
    if config.det_model is not None and Path(config.det_model).expanduser().exists():
        pinned["det_model"] = str(Path(config.det_model).expanduser().absolute())
    return dataclasses.replace(config, **pinned)  # type: ignore[arg-type]


def _pinned(name: str | None) -> str:
    from agegender.graph.checkpoint import resolve_epoch
    from agegender.graph.info import read_info
    from agegender.graph.lookup import find_model

    if name is not None and name.endswith(".onnx"):
        return str(Path(name).expanduser().absolute())
    model = find_model(name)
    epoch = resolve_epoch(model.prefix, model.epoch, info=read_info(model.prefix))
    own = model.origin.kind in ("name", "shipped")
    return f"{model.origin.name if own else model.prefix.absolute()},{epoch}"


def _as_ours(error: BaseException) -> AgeGenderError:
    """Return the error of ours that Ray wraps, or one line of what Ray says."""
    inner: BaseException | None = error
    while inner is not None:
        # Asked first: Ray's error is of the class of what it wraps, with a traceback for a message.
        wrapped = getattr(inner, "cause", None)
        if wrapped is None and isinstance(inner, AgeGenderError):
            # Ray adds advice on retries to the message, and its own class to ours.
            ours = next(kind for kind in type(inner).__mro__ if kind.__module__ == AgeGenderError.__module__)
            return ours(_first_line(inner))  # type: ignore[no-any-return]
        inner = wrapped or inner.__cause__
    return AgeGenderError(f"Ray ended the job: {type(error).__name__}: {_last_line(error)}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _last_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]
