"""The networks in numbers: input, parameters, multiply-adds, size on disk, and what the papers say of them.

python tools/models.py list                  every network with each of its heads, and the shipped models
python tools/models.py list --json           the same for programs
python tools/models.py show m50              one network, layer by layer; also a checkpoint (runs/m50/model)
python tools/models.py docs                  writes the table into docs/networks.md; --check only compares

Everything is counted on the graphs that the package ships, without MXNet (but with PyTorch). Parameters are all arrays
of a graph that are trained (and the few gammas fixed at 1), BatchNorm's statistics apart. MACs are multiply-adds of
convolutions, dense layers and matrix products for one image: half of what is called FLOPs where each counts twice.
Exit code: 0 all well, 1 damaged data or a table that differs, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path[:0] = [str(Path(__file__).resolve().parents[1] / "src"), str(Path(__file__).resolve().parents[1])]

from agegender.app.ending import exit_code_of  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "networks.md"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the commands and return the exit code: 0, 1 (damaged data, a table that differs), 2 (usage)."""
    args = _parser().parse_args(argv)
    return exit_code_of(lambda: int(args.run(args)), prog="models.py", debug=args.debug)


def list_all(args: argparse.Namespace) -> int:
    """Print every network, and the shipped models."""
    from tools.model_table import network_rows, shipped_rows
    from tools.model_text import networks_text, shipped_text

    networks, shipped = network_rows(), shipped_rows(args.models)
    if args.json:
        print(json.dumps({"networks": networks, "shipped": shipped}, indent=2))
    else:
        print(networks_text(networks))
        print(shipped_text(shipped), end="")
    return 0


def show(args: argparse.Namespace) -> int:
    """Print one network's nodes that cost something, or all."""
    from tools.model_table import node_rows
    from tools.model_text import nodes_text

    found = node_rows(args.name, shape=args.data_shape, task=args.task, every=args.all)
    print(json.dumps(found, indent=2) if args.json else nodes_text(found))
    return 0


def docs(args: argparse.Namespace) -> int:
    """Write the table into the page, or compare."""
    from agegender.files import write_text
    from tools.model_table import network_rows
    from tools.model_text import markdown, replaced

    text = args.page.read_text(encoding="utf-8")
    wanted = replaced(text, markdown(network_rows()), where=str(args.page))
    if text == wanted:
        print(f"{args.page}: as the networks are")
        return 0
    if args.check:
        print(f"{args.page}: differs from the networks; python tools/models.py docs rewrites it", file=sys.stderr)
        return 1
    write_text(args.page, wanted)
    print(f"{args.page}: written")
    return 0


def _shape(text: str) -> tuple[int, ...]:
    try:
        shape = tuple(int(size) for size in text.split(","))
    except ValueError:
        shape = ()
    if len(shape) != 3 or min(shape) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not channels,height,width")
    return shape


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(name: str, run: Any) -> argparse.ArgumentParser:
        command = commands.add_parser(name, parents=[common], help=run.__doc__, description=run.__doc__)
        command.set_defaults(run=run)
        return command

    listing = add("list", list_all)
    listing.add_argument("--json", action="store_true", help="as JSON")
    listing.add_argument("--models", type=Path, default=ROOT / "models", metavar="DIR", help="folder of shipped models")
    showing = add("show", show)
    showing.add_argument("name", help="a network, such as m50 or ssrnet-ssr, or a checkpoint's prefix")
    showing.add_argument("--data_shape", type=_shape, metavar="C,H,W", help="input (default: the network's own)")
    showing.add_argument("--task", choices=("both", "age", "gender"), default="both", help="as train.py's: one answer")
    showing.add_argument("--all", action="store_true", help="also nodes without parameters and multiply-adds")
    showing.add_argument("--json", action="store_true", help="as JSON")
    writing = add("docs", docs)
    writing.add_argument("--check", action="store_true", help="write nothing; exit code 1 where the page differs")
    writing.add_argument("--page", type=Path, default=PAGE, metavar="FILE", help="the page (default: docs/networks.md)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
