"""Open ten million records: how long it takes and how much memory.

Writes an .idx of that many lines and a sparse .rec (40 GB on paper, a few MB on disk) with records only at the places
that opening looks at, opens them in a fresh process, and prints a table row.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

SRC = Path(__file__).resolve().parent.parent / "src"
sys.path.insert(0, str(SRC))

from agegender.recordio import Header, pack, write_index  # noqa: E402
from agegender.recordio.layout import frame  # noqa: E402
from agegender.recordio.reader import spot_positions  # noqa: E402

# A 112x112 JPEG of quality 95 with header and framing.
RECORD_BYTES = 4096
OPEN = """
import resource, sys, time
sys.path.insert(0, sys.argv[2])
begin = time.perf_counter()
from agegender.recordio import open_records  # noqa: E402
imported = time.perf_counter()
records = open_records(sys.argv[1])
opened = time.perf_counter()
keys = records.keys
digest = records.digest()
last = len(records.read(len(records) - 1))
done = time.perf_counter()
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(len(records), f"{opened - imported:.2f} {done - opened:.2f} {peak:.0f}")
"""


def main() -> None:
    """Print records, seconds to open, seconds for keys, digest and one record, and the peak of resident memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=10_000_000)
    parser.add_argument("--shards", type=int, default=1)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stem = Path(folder) / "train.rec"
        for number in range(args.shards):
            name = f"train-{number:05d}-of-{args.shards:05d}.rec"
            _write_sparse(stem if args.shards == 1 else stem.with_name(name), args.records // args.shards)
        command = [sys.executable, "-c", OPEN, str(stem), str(SRC)]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    records, opened, rest, peak = output.split()
    print("| records | shards | open, s | keys, digest and a record, s | peak memory, MB |\n|---|---|---|---|---|")
    print(f"| {int(records):,} | {args.shards} | {opened} | {rest} | {peak} |")


def _write_sparse(path: Path, count: int) -> None:
    """Write an index of ``count`` records and a file that has them at the spots that are looked at."""
    offsets = np.arange(count, dtype=np.int64) * RECORD_BYTES
    write_index(path.with_suffix(".idx"), np.arange(count, dtype=np.int64), offsets=offsets)
    body = bytes(RECORD_BYTES - 8 - 24 - 8)
    with open(path, "wb") as file:
        for position in spot_positions(count).tolist():
            file.seek(position * RECORD_BYTES)
            label = np.array([position % 2, position % 101], np.float32)
            file.write(frame(pack(Header(label, position), body)))


if __name__ == "__main__":
    main()
