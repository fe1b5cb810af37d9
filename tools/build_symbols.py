"""Write the JSON of every built-in network into the package: python tools/build_symbols.py

One file for each graph (NAME.json, or NAME-HEAD.json for a head that is not the network's default) and one with the
defaults of each network (NAME.defaults.json). The package uses these files where MXNet or symbols/ is missing; a test
proves that they equal what symbols/ says.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "src")]

import symbols  # noqa: E402
from agegender.files import write_text  # noqa: E402
from agegender.graph.builtin import DEFAULTS, GRAPH  # noqa: E402

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


def texts() -> Iterator[tuple[str, str]]:
    """Yield name and text of every file: the graphs, and the defaults of each network."""
    for name, build in builders().items():
        yield f"{name}{GRAPH}", build().tojson() + "\n"
    for name, network in symbols.NETWORKS.items():
        yield f"{name}{DEFAULTS}", defaults_text(network)


def defaults_text(network: symbols.Network) -> str:
    """Return what the package knows of a network besides its graph, as JSON: every field but name and builder."""
    values = {field.name: getattr(network, field.name) for field in fields(network)}
    values["arguments"] = dict(network.arguments)
    del values["name"], values["builder"]
    return json.dumps(values, indent=2) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Write or check the files; the exit code is 1 where ``--check`` finds a difference."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=OUTPUT, help="folder for the JSON files (default: the package)")
    parser.add_argument("--check", action="store_true", help="write nothing, report files that differ")
    args = parser.parse_args(argv)
    differing: list[str] = []
    known: set[str] = set()
    for name, text in texts():
        known.add(name)
        path = args.output / name
        if path.exists() and path.read_text(encoding="utf-8") == text:
            continue
        differing.append(f"{path} is not what symbols/ builds; run tools/build_symbols.py")
        if not args.check:
            args.output.mkdir(parents=True, exist_ok=True)
            write_text(path, text)
            print(path)
    # Nothing is deleted here: the file may belong to a network that can't be found for the moment.
    left_over = [
        f"{path} belongs to no network of symbols/; delete it"
        for path in sorted(args.output.glob(f"*{GRAPH}"))
        if path.name not in known
    ]
    for line in [*differing, *left_over] if args.check else left_over:
        print(line)
    return 1 if args.check and (differing or left_over) else 0


if __name__ == "__main__":
    sys.exit(main())
