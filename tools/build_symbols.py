"""Write the JSON of every built-in network into the package: python tools/build_symbols.py

The package runs these files where MXNet is not installed; a test proves that they equal what ``symbols/`` builds.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import symbols  # noqa: E402
from agegender.files import write_text  # noqa: E402

OUTPUT = ROOT / "src" / "agegender" / "graph" / "builtin"


def builders() -> dict[str, Callable[[], Any]]:
    """Return what makes each built-in graph, by its name: ``r50``, ``ssrnet-ssr`` (another head), ``mtcnn_pnet``."""
    from symbols import mtcnn

    found: dict[str, Callable[[], Any]] = {}
    for name, network in symbols.NETWORKS.items():
        for head in network.heads:
            key = name if head == network.head else f"{name}-{head}"
            found[key] = partial(symbols.build, name, head=head)
    return found | {"mtcnn_pnet": mtcnn.pnet, "mtcnn_rnet": mtcnn.rnet, "mtcnn_onet": mtcnn.onet}


def main(argv: Sequence[str] | None = None) -> int:
    """Write or check the files; the exit code is 1 where ``--check`` finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder for the JSON files (default: the package)")
    parser.add_argument("--check", action="store_true", help="write nothing, report files that differ")
    args = parser.parse_args(argv)
    differing = 0
    for name, build in builders().items():
        path = args.output / f"{name}.json"
        text = build().tojson() + "\n"
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        differing += 1
        if args.check:
            print(f"{path} is not what symbols/ builds; run tools/build_symbols.py")
            continue
        args.output.mkdir(parents=True, exist_ok=True)
        write_text(path, text)
        print(path)
    return 1 if args.check and differing else 0


if __name__ == "__main__":
    sys.exit(main())
