"""Training r50 and m50 with PyTorch, from records and from tensors that are on the device already (the ceiling).

"from the loader" reads, decodes, augments and copies each face as ``train.py`` does; "ceiling" trains on one batch over
and over, so that nothing is waited for. "loader alone" is what the loader delivers to nobody. Needs a CUDA GPU for
figures worth quoting; on a processor it says so in its title.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from agegender.cores import usable_cores  # noqa: E402
from agegender.engine.config import TrainConfig  # noqa: E402
from agegender.pipeline import Loader, LoaderConfig  # noqa: E402
from agegender.pipeline.batch import Batch  # noqa: E402
from agegender.recordio import open_records  # noqa: E402
from benchmarks.loader import draw_records  # noqa: E402
from benchmarks.table import print_table  # noqa: E402

NETWORKS = {"r50": 5_000, "m50": 20_000}
LOADER_SHARE = 0.95
AUGMENTATION = LoaderConfig(rand_mirror=True, color=0.2)


@dataclass(frozen=True, kw_only=True)
class Measured:
    """Faces per second from records, from one batch on the device, and of the loader alone; memory in MB."""

    loader: float
    ceiling: float
    alone: float
    memory: float


def main() -> int:
    """Measure and print the table. Returns 1 where a GPU misses a target; a processor has none."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="r50,m50", help="comma-separated (default: r50,m50)")
    parser.add_argument("--rec", type=Path, help="train on these records (112x112 JPEGs) instead of drawn ones")
    parser.add_argument("--batch_size", type=int, default=512)
    parser.add_argument("--steps", type=int, default=30, help="steps per turn, after as many to warm up (default: 30)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--precision", default="auto", choices=("auto", "fp32", "bf16"))
    parser.add_argument("--compile", action="store_true", help="with torch.compile")
    parser.add_argument("--gpu_ids", default=None)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rec = args.rec or draw_records(Path(folder) / "faces.rec")
        return report(args, {name: measure(name, rec, args) for name in args.networks.split(",")})


def report(args: argparse.Namespace, measured: dict[str, Measured]) -> int:
    """Print the table and return the exit code."""
    import torch

    on_gpu = torch.cuda.is_available() and args.gpu_ids != "cpu"
    device = torch.cuda.get_device_name(0) if on_gpu else f"{usable_cores()} processor cores, no GPU"
    rows, missed = [], False
    for name, one in measured.items():
        target = NETWORKS.get(name, 0)
        share = one.loader / one.ceiling
        missed |= on_gpu and (one.loader < target or share < LOADER_SHARE)
        rows.append(
            [
                name,
                f"{one.loader:,.0f}",
                f"{one.ceiling:,.0f}",
                f"{share:.0%}",
                f"{one.alone:,.0f}",
                f"{target:,}" if on_gpu else "",
                f"{one.memory:,.0f}",
            ]
        )
    kind = "bf16" if args.precision == "bf16" or (args.precision == "auto" and on_gpu) else "fp32"
    title = f"{device}, {kind}, batches of {args.batch_size}, median of {args.repeats}, faces/s"
    columns = ["network", "from the loader", "ceiling", "share", "loader alone", "target", "peak memory MB"]
    print_table(columns, rows, title=title)
    return int(missed)


def measure(name: str, rec: Path, args: argparse.Namespace) -> Measured:
    """Return what one network does."""
    import torch

    from agegender.app.networks import fill_in, packaged_networks
    from agegender.engine.backend import open_backend
    from agegender.graph import builtin_json

    config = TrainConfig(
        network=name, engine="torch", gpu_ids=args.gpu_ids, batch_size=args.batch_size, precision=args.precision,
        compile=args.compile,
    )  # fmt: skip
    config = fill_in(config, packaged_networks()[name])
    size = (112, 112)
    with open_backend(config, builtin_json(name)) as backend:
        module = backend.trainable(AUGMENTATION, rows=args.batch_size, size=size)
        module.initialise(seed=0)
        module.start_optimizer("sgd", momentum=0.9, wd=5e-4)
        loading = backend.loader_config(AUGMENTATION)
        with Loader(open_records(rec), batch_size=args.batch_size, size=size, config=loading, shuffle=True) as loader:
            batches = chain.from_iterable(loader.epoch(epoch) for epoch in count())
            from_loader = speed(module, batches, args)
            ceiling = speed(module, held(module, next(batches)), args)
            alone = speed(None, batches, args)
        on_gpu = torch.cuda.is_available() and args.gpu_ids != "cpu"
        memory = torch.cuda.max_memory_allocated() / 1e6 if on_gpu else peak_memory()
    return Measured(loader=from_loader, ceiling=ceiling, alone=alone, memory=memory)


def held(module: Any, batch: Batch) -> Iterator[Batch]:
    """Yield one batch for ever, its images on the device already."""
    images, to_device = module.to_device(batch.data), module.to_device
    # What the module copies at each step is this tensor from then on.
    module.to_device = lambda array: images if array is batch.data else to_device(array)
    while True:
        yield batch


def speed(module: Any, batches: Iterator[Batch], args: argparse.Namespace) -> float:
    """Return faces per second, the median over turns; without a module of the batches alone."""
    turns = []
    for turn in range(args.repeats + 1):
        result, begin = None, time.perf_counter()
        for _ in range(args.steps):
            batch = next(batches)
            if module is not None:
                before, result = result, module.step(batch, lr=0.01, seed=0)
                if before is not None:
                    before.read()
        if result is not None:
            result.read()
        if turn:  # the first one warms up
            turns.append(args.steps * args.batch_size / (time.perf_counter() - begin))
    return float(statistics.median(turns))


def peak_memory() -> float:
    """Return the largest resident memory of this process so far, in MB."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(main())
