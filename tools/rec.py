"""Look into a RecordIO file, check it, and save what is left of a damaged one."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "src"))

from agegender.app.ending import exit_code_of
from agegender.app.one_line import OneLineParser
from agegender.errors import DataError, RecordError, UsageError
from agegender.npy import read_vector
from agegender.recordio import (
    RecordSet,
    find_shards,
    index_path,
    open_records,
    rebuild_index,
    repair,
    set_json,
    unpack,
    verify,
)
from agegender.recordio.body import BodyCheck, jpeg_problem, vector_check

EXAMPLES = """examples:
  python tools/rec.py info dataset/train.rec
  python tools/rec.py verify dataset/train.rec --bodies decode
  python tools/rec.py repair dataset/train.rec dataset/train-repaired.rec
  python tools/rec.py index dataset/train.rec
  python tools/rec.py show dataset/train.rec --count 64 --output faces.png

exit code: 0 all well, 1 damaged data, 2 wrong usage"""

LABEL_ORDERS = ("gender,age", "age,gender")
OWN_ORDER = "order of the labels, gender,age or age,gender (default: the set's own)"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the commands and return the exit code: 0, 1 (damaged data), 2 (usage)."""
    args = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    return exit_code_of(lambda: int(args.run(args)), prog="rec.py", debug=args.debug)


def info(args: argparse.Namespace) -> int:
    """Print what a set holds."""
    with open_records(args.path) as records:
        size = sum(file.size for file in records.files)
        print(f"records      {len(records):,} in {len(records.files)} file(s), {size:,} bytes")
        for file in records.files if len(records.files) > 1 else ():
            print(f"  {file.path.name}  {len(file):,} records, {file.size:,} bytes")
        about = _about(records.path)
        for line in _set_lines(about):
            print(line)
        if not len(records):
            return 0
        print(f"keys         {records.keys.min()} to {records.keys.max()}")
        width = len(unpack(records.read(0))[0].label)
        order = _label_order(about)
        for line in _label_lines(records.labels(width), order):
            print(line)
        print(f"body         {_body_kind(unpack(records.read(0))[1], about)}")
        print(f"digest       {records.digest()[:16]}")
    return 0


def verify_files(args: argparse.Namespace) -> int:
    """Check every file of a set and print each problem on a line."""
    damaged = 0
    for path in find_shards(args.path):
        about = _about(path)
        order = args.label_order or (_label_order(about) if about else None)
        if order is None:
            print(
                f"{path}: labels not checked, there is no {set_json(path).name}; --label_order gender,age checks them"
            )
        report = verify(path, check=_body_check(args.bodies, about), label_order=order)
        for problem in report.problems:
            print(f"{path}: {problem}")
        verdict = "all well" if report.ok else f"{len(report.problems)} problem(s)"
        print(f"{path}: {report.records:,} whole records, {report.size:,} bytes: {verdict}")
        damaged += not report.ok
    return 1 if damaged else 0


def repair_file(args: argparse.Namespace) -> int:
    """Write the whole records of a damaged file to a new one and say what was lost."""
    result = repair(args.source, args.target, check=_body_check(args.bodies, _about(args.source)))
    for problem in result.lost:
        print(f"lost: {problem}")
    print(f"{result.target}: {result.records:,} records written, {len(result.lost)} damaged place(s) left out")
    return 0


def index(args: argparse.Namespace) -> int:
    """Write the .idx of every file of a set anew."""
    for path in find_shards(args.path):
        count = rebuild_index(path)
        print(f"{index_path(path)}: {count:,} records")
    return 0


def show(args: argparse.Namespace) -> int:
    """Print the labels of some records and draw their faces on one page."""
    from agegender.plots.contact import contact_sheet

    with open_records(args.path) as records:
        if _holds_vectors(_about(records.path)):
            raise UsageError(f"{args.path} holds embeddings, and there is nothing to draw; info says what they are")
        order = args.label_order or _label_order(_about(records.path))
        images, captions, lines = [], [], []
        for position in _choose(records, args):
            key = int(records.keys[position])
            header, body = unpack(records.read(position))
            caption = _describe(header.label, order)
            lines.append(f"{key}\t{caption}\t{records.path_of(position).name}")
            images.append(_decode(body, name=f"{records.path_of(position)}: record key {key}"))
            captions.append(f"{key}: {caption}")
        figure = contact_sheet(images, captions, columns=args.columns, title=f"{records.path.name}, {order}")
    figure.savefig(args.output)
    # Only now: with `| head` the first lines may be the last thing that this process does.
    print("\n".join(lines))
    print(f"{args.output} drawn: {len(images)} of {len(records):,} records", file=sys.stderr)
    return 0


def _parser() -> argparse.ArgumentParser:
    kind = argparse.RawDescriptionHelpFormatter
    parser = OneLineParser(prog="rec.py", description=__doc__, epilog=EXAMPLES, formatter_class=kind)
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    file_help = "a .rec; the stem of shards; or a glob pattern"
    bodies: dict[str, Any] = {
        "choices": ("markers", "decode", "none"),
        "default": "markers",
        "help": "check JPEG markers, decode every image, or leave the bodies alone (default: markers)",
    }
    for run, name in ((info, "info"), (verify_files, "verify"), (index, "index"), (show, "show")):
        command = _command(commands, name, run.__doc__)
        command.set_defaults(run=run)
        command.add_argument("path", metavar="FILE.rec", type=Path, help=file_help)
        if name == "verify":
            command.add_argument("--bodies", **bodies)
            command.add_argument("--label_order", choices=LABEL_ORDERS, metavar="ORDER", help=OWN_ORDER)
        if name == "show":
            _add_show_options(command)
    command = _command(commands, "repair", repair_file.__doc__)
    command.set_defaults(run=repair_file)
    command.add_argument("source", metavar="DAMAGED.rec", type=Path, help="the damaged .rec; it is not touched")
    command.add_argument("target", metavar="NEW.rec", type=Path, help="the new .rec, for the whole records")
    command.add_argument("--bodies", **bodies)
    return parser


def _command(commands: Any, name: str, about: str | None) -> OneLineParser:
    """Add a command whose --help ends in its line of the examples."""
    lines = [line for line in EXAMPLES.splitlines() if f"rec.py {name} " in line]
    parser: OneLineParser = commands.add_parser(
        name,
        help=about,
        description=about,
        epilog="\n".join(["example:", *lines]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def _add_show_options(command: argparse.ArgumentParser) -> None:
    command.add_argument("--count", type=int, default=48, help="how many faces (default: 48)")
    command.add_argument("--keys", help="these keys instead, comma-separated")
    command.add_argument("--seed", type=int, help="draw them at random with this seed (default: evenly spread)")
    command.add_argument("--columns", type=int, default=8, help="faces in a row (default: 8)")
    command.add_argument("--label_order", choices=LABEL_ORDERS, metavar="ORDER", help=OWN_ORDER)
    command.add_argument("--output", type=Path, default=Path("faces.png"), help="picture to write (default: faces.png)")


def _about(path: Path) -> dict[str, Any]:
    """Return the JSON of the set that a file belongs to, {} where it has none."""
    name = set_json(path)
    try:
        about = json.loads(name.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise DataError(f"{name} is no JSON: {error}") from error
    return about if isinstance(about, dict) else {}


def _label_order(about: dict[str, Any]) -> str:
    return str(about.get("labels", "gender,age"))


def _set_lines(about: dict[str, Any]) -> list[str]:
    """Describe what the set's JSON says about it."""
    if not about:
        return ["template     unknown (no .json beside the file)"]
    template = about.get("template") or {}
    size = "x".join(map(str, template.get("size", ()))) or "unknown size"
    lines = [f"template     {template.get('name', 'unknown')}, {size}"]
    lines += [f"split        {about['split']}"] if "split" in about else []
    sources = about.get("sources")
    lines += [f"sources      {json.dumps(sources, ensure_ascii=False)}"] if sources else []
    made = about.get("embedding") if _holds_vectors(about) else None
    if isinstance(made, dict):
        words = [f"{made.get('size')} numbers by {made.get('model')}"]
        words += ["normalised"] if made.get("normalised") else []
        words += ["mean with the mirror image"] if made.get("flip") else []
        lines.append(f"embedding    {', '.join(words)}")
    lines += ["synthetic    these faces are drawn, not photographed"] if about.get("synthetic") else []
    return lines


def _label_lines(labels: NDArray[np.float32], order: str) -> list[str]:
    """Describe the labels, (n, width) float32, column by column."""
    names = [*order.split(","), *("low", "high", "std")]
    lines = []
    for column in range(labels.shape[1]):
        values = labels[:, column]
        name = names[column] if column < len(names) else f"label {column}"
        known = values[values >= 0]
        text = f"{known.min():g} to {known.max():g}, mean {known.mean():.2f}" if known.size else "none known"
        if name == "gender":
            text = f"{np.sum(values == 0):,} female, {np.sum(values == 1):,} male"
        lines.append(f"{name:<12} {text}, {len(values) - known.size:,} unknown")
    return lines


def _holds_vectors(about: dict[str, Any]) -> bool:
    return about.get("body") == "float32"


def _body_kind(body: memoryview, about: dict[str, Any]) -> str:
    if _holds_vectors(about):
        return f"embeddings (float32), the first of {len(read_vector(body))} numbers"
    if jpeg_problem(body):
        return f"{len(body)} bytes, no JPEG"
    height, width = _decode(body, name="the first record").shape[:2]
    return f"JPEG, the first {width}x{height}"


def _body_check(choice: str, about: dict[str, Any]) -> BodyCheck | None:
    if choice == "none":
        return None
    if _holds_vectors(about):
        size = dict(about.get("embedding") or {}).get("size")
        return vector_check(size if isinstance(size, int) else None)
    return jpeg_problem if choice == "markers" else _decode_problem


def _decode_problem(body: memoryview) -> str | None:
    """Decode an image and say what is wrong with it, also what a viewer would forgive."""
    import simplejpeg

    problem = jpeg_problem(body)
    if problem or not simplejpeg.is_jpeg(body):
        return problem
    try:
        simplejpeg.decode_jpeg(body, strict=True)
    except ValueError as error:
        return f"its JPEG is damaged ({error})"
    return None


def _decode(body: memoryview, *, name: str) -> NDArray[np.uint8]:
    """Return an image of a record as (h, w, 3) uint8 RGB."""
    import cv2

    data = np.frombuffer(body, np.uint8)
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    if image is None:
        raise RecordError(f"{name}: the body is no image")
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB).astype(np.uint8, copy=False)


def _choose(records: RecordSet, args: argparse.Namespace) -> list[int]:
    """Return the positions to show."""
    if args.keys:
        try:
            keys = [int(key) for key in args.keys.split(",")]
        except ValueError:
            raise UsageError(f"--keys {args.keys!r} is not a comma-separated list of whole numbers") from None
        return [records.find(key) for key in keys]
    for name in ("count", "columns"):
        if getattr(args, name) < 1:
            raise UsageError(f"--{name} {getattr(args, name)} is not at least 1")
    if not len(records):
        raise RecordError(f"{records.path} has no records to show")
    count = min(args.count, len(records))
    if args.seed is None:
        return [int(position) for position in np.linspace(0, len(records) - 1, count)]
    rng = np.random.default_rng(args.seed)
    return sorted(rng.choice(len(records), count, replace=False).tolist())


def _describe(label: NDArray[np.float32], order: str) -> str:
    """Return labels in words: "female 31"."""
    named = dict(zip(order.split(","), label.tolist(), strict=False))
    gender = {0.0: "female", 1.0: "male", -1.0: "?"}.get(named.get("gender", -1.0), f"{named.get('gender', -1):g}")
    age = named.get("age", -1.0)
    return f"{gender} {'?' if age == -1 else format(age, 'g')}"


if __name__ == "__main__":
    sys.exit(main())
