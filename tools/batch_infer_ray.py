"""Tell age and gender of the faces in more photos than one machine can go through: on the cores of a Ray cluster.

Photos are read, faces found, age and gender told by the same Predictor as infer.py's, one on each core, and the results
are written as Parquet files with one row per face. A photo without a face has one row too, and so has one that can't
be read (column error); the rest goes on. Needs Ray: pip install -r requirements-ray.txt
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agegender.app.ending import exit_code_of
from agegender.app.inference.config import InferConfig, collect_config
from agegender.app.parser import CommandParser
from agegender.config import add_options, as_json, collect, option
from agegender.errors import INTERRUPTED, UsageError
from agegender.packages import require_packages

EXAMPLES = """examples:
  python tools/batch_infer_ray.py --input photos/ --output faces/ --model m50
  python tools/batch_infer_ray.py --input list.txt --output faces/ --resume
  on a cluster (ray start on each machine, see docs/batch.md):
    python tools/batch_infer_ray.py --input /mnt/photos --output /mnt/faces --address auto --batch_size 64

exit code: 0 all well, 1 photos that could not be read or a job that broke, 2 wrong usage, 130 Ctrl-C"""
# Ray Data needs the other two.
PACKAGES = ("ray", "pandas", "pyarrow")


def _as_in_infer(name: str) -> Any:
    """Return the field ``name`` of infer.py's options: the same default and help."""
    field = next(field for field in dataclasses.fields(InferConfig) if field.name == name)
    return dataclasses.field(default=field.default, metadata=field.metadata)


@dataclass(frozen=True, kw_only=True)
class ModelFlags:
    """What means the same in infer.py."""

    model: str | None = _as_in_infer("model")
    age_model: str | None = _as_in_infer("age_model")
    gender_model: str | None = _as_in_infer("gender_model")
    template: str | None = _as_in_infer("template")
    min_confidence: float | None = _as_in_infer("min_confidence")
    detector: str = _as_in_infer("detector")
    det_model: str | None = _as_in_infer("det_model")
    det_threshold: tuple[float, ...] = _as_in_infer("det_threshold")
    min_face: float = _as_in_infer("min_face")
    engine: str = _as_in_infer("engine")


@dataclass(frozen=True, kw_only=True)
class JobFlags:
    """How the work is shared out."""

    batch_size: int = option(
        16, help="photos that a worker takes at once; on more than some 30 cores 64 asks less of Ray", metavar="N"
    )
    concurrency: int | None = option(
        None,
        help="workers, each with a model of its own (default: one a core, or as many as the GPUs hold)",
        metavar="N",
    )
    num_gpus_per_worker: float = option(
        0.0, help="share of a GPU that each worker computes on (0.25: four workers on each GPU)", metavar="SHARE"
    )
    address: str = option(
        "local",
        help="local: this machine alone; auto: the cluster that this machine belongs to; or its HOST:PORT",
        metavar="ADDRESS",
    )
    resume: bool = option(False, help="go on with the files in --output: leave out photos that are in them")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one job and return the exit code: 0, 1 (photos with errors, a job that broke), 2 (usage), 130 (Ctrl-C)."""
    args = _parser().parse_args(argv)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    return exit_code_of(lambda: _run(args), prog="batch_infer_ray.py", debug=args.debug)


def _run(args: argparse.Namespace) -> int:
    options, flags = collect(ModelFlags, args), collect(JobFlags, args)
    infer = collect_config(argparse.Namespace(**vars(options)))
    _check(flags)
    # Late, so that --help loads neither numpy nor Ray, and a missing Ray is told in one line.
    from agegender.app.inference.model import open_model
    from tools.batch_job import Job, pin_model, ray_session
    from tools.batch_output import ParquetFolder
    from tools.batch_source import Input

    source = Input(args.input)
    infer = dataclasses.replace(pin_model(infer), gpu_ids="cpu", threads=1)
    about = {name: as_json(infer)[name] for name in vars(options)}
    output = ParquetFolder(Path(args.output), resume=flags.resume, about=about)
    # Opened here too, though the workers open their own: what is wrong with it is told before Ray starts.
    open_model(infer, lang="en")
    job = Job(
        # None is the GPU that Ray gives the worker.
        infer=dataclasses.replace(infer, gpu_ids=None) if flags.num_gpus_per_worker else infer,
        source=source,
        output=output,
        batch_size=flags.batch_size,
        concurrency=flags.concurrency,
        num_gpus=flags.num_gpus_per_worker,
    )
    try:
        with ray_session(flags.address) as ray, output:
            job.run(ray)
    except KeyboardInterrupt:
        line = f"stopped; photos done: {job.photos}, all in {args.output}; the same command with --resume goes on"
        print(f"\n{line}", file=sys.stderr)
        return INTERRUPTED
    job.say_end()
    return 1 if job.failed or job.failed_before else 0


def _check(flags: JobFlags) -> None:
    for flag in ("batch_size", "concurrency"):
        value = getattr(flags, flag)
        if value is not None and value < 1:
            raise UsageError(f"--{flag} {value}: at least 1")
    if not 0 <= flags.num_gpus_per_worker <= 1:
        raise UsageError(f"--num_gpus_per_worker {flags.num_gpus_per_worker:g} is not within 0..1")
    require_packages(*PACKAGES, extra="ray")


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="batch_infer_ray.py",
        command="batch_infer_ray",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--input",
        required=True,
        metavar="PATH",
        help="folder of photos (with its subfolders), or a manifest: .txt with a path on each line, .csv or .parquet "
        "with a column path",
    )
    parser.add_argument("--output", required=True, metavar="FOLDER", help="where the Parquet files go")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    add_options(parser, JobFlags, title="how the work is shared out")
    add_options(parser, ModelFlags, title="as for infer.py")
    return parser


if __name__ == "__main__":
    sys.exit(main())
