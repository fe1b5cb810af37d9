"""Score a model on records as they are and under each corruption of agegender.face.corruption: a table for its card.

python tools/robustness.py --model ssrnet --data dataset/test.rec
python tools/robustness.py --model ssrnet --data dataset/test.rec --severities 1-5 --plot robustness.png

With --severities each corruption goes through its amounts from 1 (hardly seen) to 5 (a face people still make out), and
the tables are MAE and gender accuracy by severity; mirror has none.

The faces are corrupted at the size in which the records hold them, then brought to the net's input. What is drawn
depends on the seed and on a face's place in the set. Prints Markdown; "change of MAE" is MAE minus clean MAE.
Exit code: 0 all well, 1 bad data (also where bad records were left out), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from tqdm import tqdm

from agegender.app import evaluate
from agegender.app.ending import exit_code_of
from agegender.app.eval_config import EvalConfig
from agegender.app.eval_faces import CroppedFaces, ModelCrop, model_crop
from agegender.app.eval_images import Image, Origin, RecordImages
from agegender.app.eval_model import Read
from agegender.app.eval_report import CUM_YEARS
from agegender.app.messages import say
from agegender.app.named_files import check_diagram, check_outputs
from agegender.errors import DataError, UsageError
from agegender.executor import EXECUTORS
from agegender.face.corruption import CORRUPTIONS, SEVERITIES, corrupt
from agegender.files import atomic_path, write_text
from agegender.metrics import ScoreKeeper, Scores
from agegender.pipeline.faces import LABEL_ORDERS
from agegender.pipeline.set_info import read_set_info
from agegender.recordio import find_shards, open_records

CLEAN = "clean"
HEAD = ("corruption", "gender acc", "MAE", f"CUM_{CUM_YEARS}", "change of MAE")
UNKNOWN = "-"
# A row of the results: the corruption and its severity, None for the usual amount.
Row = tuple[str, int | None]
CLEAN_ROW: Row = (CLEAN, None)


class CorruptedRecords:
    """The faces at ``rows`` of a set, under the corruption ``name`` (``clean``: as they are), for ``CroppedFaces``.

    By its usual amount, or that of ``severity`` 1..5.
    """

    def __init__(
        self, images: RecordImages, rows: Sequence[int], *, name: str, seed: int, severity: int | None = None
    ) -> None:
        self._images = images
        self._rows = rows
        self._name = name
        self._seed = seed
        self._severity = severity

    def __len__(self) -> int:
        return len(self._rows)

    def read(self, row: int) -> tuple[Image, Sequence[float]]:
        """Return the image at its own size and its gender and age. Raises RecordError naming file and record."""
        # The place in the whole set: --limit must not change what happens to a face.
        number = self._rows[row]
        image, label = self._images.read(number)
        if self._name == CLEAN:
            return image, label
        return corrupt(image, self._name, seed=self._seed, number=number, severity=self._severity), label

    def name(self, row: int) -> str:
        """Return file and record."""
        return self._images.name(self._rows[row])

    def needs_detector(self, row: int) -> bool:
        """Never: the set is in the model's crop template."""
        return False

    def origins(self) -> list[Origin]:
        """Return what train.csv says of each record."""
        everything = self._images.origins()
        return [everything[row] for row in self._rows]


def main(argv: Sequence[str] | None = None) -> int:
    """Score, print the table, and return the exit code."""
    args = _parser().parse_args(argv)
    return exit_code_of(lambda: _run(args), prog="robustness.py")


def rows_of(severities: Sequence[int]) -> list[Row]:
    """Return the rows to score, the clean one first: each corruption as usual, or at each of ``severities``."""
    if not severities:
        return [CLEAN_ROW, *((name, None) for name in CORRUPTIONS)]
    graded = [name for name, corruption in CORRUPTIONS.items() if corruption.amounts]
    return [CLEAN_ROW, *((name, severity) for name in graded for severity in severities)]


def passes(
    images: RecordImages,
    rows: Sequence[int],
    crop: ModelCrop,
    *,
    table_rows: Sequence[Row],
    batch_size: int,
    seed: int,
    bad_records: str,
) -> Iterator[tuple[Row, CroppedFaces]]:
    """Yield each of ``table_rows`` and its faces."""
    for name, severity in table_rows:
        source = CorruptedRecords(images, rows, name=name, seed=seed, severity=severity)
        yield (
            (name, severity),
            CroppedFaces(source, crop, batch_size=batch_size, make_detector=_no_detector, bad_records=bad_records),
        )


def score(faces: CroppedFaces, read: Read, *, progress: Callable[[int], Any]) -> Scores:
    """Run every face through the net and return the figures; ``progress`` hears of the faces of each batch.

    Raises RecordError for a bad record unless such are skipped, DataError where no face can be scored.
    """
    keeper = ScoreKeeper()
    for batch in faces.batches():
        reading = read(batch.data)
        keeper.update(labels=batch.labels, gender_probability=reading.gender, age=reading.age)
        progress(len(batch.rows))
    scores = keeper.compute()
    if not scores.n:
        raise DataError(f"not one of the {len(faces)} faces can be scored: {faces.losses.skipped[0]}")
    return scores


def table(found: dict[Row, Scores]) -> Iterator[str]:
    """Yield the lines of a Markdown table; shares in percent, ages in years, a dash where no label is known."""
    yield f"| {' | '.join(HEAD)} |"
    yield "|---" * len(HEAD) + "|"
    clean = found[CLEAN_ROW].mae
    for row, scores in found.items():
        change = "" if row == CLEAN_ROW else _cell(scores.mae - clean, "+.2f")
        figures = [_cell(scores.acc, ".1%"), _cell(scores.mae, ".2f"), _cell(scores.cum[CUM_YEARS], ".1%")]
        yield f"| {' | '.join([row[0], *figures, change])} |"


def severity_tables(found: dict[Row, Scores], severities: Sequence[int]) -> Iterator[str]:
    """Yield the lines of two Markdown tables, MAE and gender accuracy: corruptions by severity, and their mean."""
    names = list(dict.fromkeys(name for name, severity in found if severity is not None))
    clean = found[CLEAN_ROW]
    yield f"clean: MAE {_cell(clean.mae, '.2f')}, gender acc {_cell(clean.acc, '.1%')} (n={clean.n})"
    for title, figure, form in (("MAE", "mae", ".2f"), ("gender acc", "acc", ".1%")):
        grid = np.array([[getattr(found[name, severity], figure) for severity in severities] for name in names])
        yield ""
        yield f"| {' | '.join([title, *map(str, severities), 'mean'])} |"
        yield "|---" * (len(severities) + 2) + "|"
        for name, values in zip([*names, "mean"], np.vstack([grid, grid.mean(axis=0)]), strict=True):
            yield f"| {' | '.join([name, *(_cell(value, form) for value in [*values, values.mean()])])} |"


def write_csv(path: Path, found: dict[Row, Scores]) -> None:
    """Write a line per row with all its figures, unrounded; what is not known, or no severity, is empty."""
    text = io.StringIO()
    rows: list[dict[str, Any]] = []
    for (name, severity), scores in found.items():
        change = scores.mae - found[CLEAN_ROW].mae
        graded = {"severity": severity, "amount": CORRUPTIONS[name].amounts[severity - 1]} if severity else {}
        change_of = {"MAE_change": None if np.isnan(change) else change}
        rows.append({"corruption": name, **graded, **scores.as_json(), **change_of})
    # The clean row is without severity, so the heads are those of the last.
    writer = csv.DictWriter(text, fieldnames=list(rows[-1]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def draw(path: Path, found: dict[Row, Scores], severities: Sequence[int]) -> None:
    """Draw MAE over severity, a panel per corruption."""
    from agegender.plots.robustness import draw_robustness

    names = list(dict.fromkeys(name for name, severity in found if severity is not None))
    curves = {name: [found[name, severity].mae for severity in severities] for name in names}
    figure = draw_robustness(curves, severities=severities, clean=found[CLEAN_ROW].mae)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130, format=path.suffix.lower().lstrip("."))


def _run(args: argparse.Namespace) -> int:
    config = _config(args)
    model = evaluate.open_model(config, "en")
    crop = model_crop(model)
    images, how = _open_images(config, crop)
    rows = _chosen(len(images), args.limit)
    print(say("data", "en", path=args.data, faces=len(rows), crop=how), file=sys.stderr)
    read = model.open(args.engine, args.gpu_ids)
    severities = parse_severities(args.severities)
    table_rows = rows_of(severities)
    found: dict[Row, Scores] = {}
    skipped: list[str] = []
    each = passes(
        images,
        rows,
        crop,
        table_rows=table_rows,
        batch_size=args.batch_size,
        seed=args.seed,
        bad_records=args.bad_records,
    )
    with tqdm(total=len(table_rows) * len(rows), unit="face", disable=None, file=sys.stderr) as bar:
        for row, faces in each:
            bar.set_description(row[0] if row[1] is None else f"{row[0]} {row[1]}")
            found[row] = score(faces, read, progress=bar.update)
            # The same in every pass: a record that can't be read is bad before anything is done to it.
            skipped = faces.losses.skipped
    if skipped:
        print(say("skipped", "en", count=len(skipped), first=skipped[0]), file=sys.stderr)
    print("\n".join(severity_tables(found, severities) if severities else table(found)))
    if args.csv:
        write_csv(Path(args.csv), found)
        print(f"figures: {args.csv}", file=sys.stderr)
    if args.plot:
        draw(Path(args.plot), found, severities)
        print(f"picture: {args.plot}", file=sys.stderr)
    return 1 if skipped else 0


def _config(args: argparse.Namespace) -> EvalConfig:
    """Return what eval.py would be told, and refuse what can't work before anything is computed."""
    names = ("model", "data", "batch_size", "gpu_ids", "csv", "label_order", "bad_records")
    config = EvalConfig(**{name: getattr(args, name) for name in names})
    evaluate.check_options(config)
    severities = parse_severities(args.severities)
    if args.plot:
        if not severities:
            raise UsageError(f"--plot {args.plot!r} draws severities; add --severities 1-5")
        check_diagram("--plot", args.plot)
        check_outputs({flag: value for flag, value in (("--csv", args.csv), ("--plot", args.plot)) if value})
    for name, lowest in (("limit", 1), ("seed", 0)):
        value = getattr(args, name)
        if value is not None and value < lowest:
            raise UsageError(f"--{name} {value} is not {lowest} or more")
    return config


def parse_severities(text: str | None) -> list[int]:
    """Read ``1-5``, ``3`` or ``1,3,5``; [] for None. Raises UsageError for anything else."""
    if text is None:
        return []
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        last = last if dash else first
        if not (first.isdecimal() and last.isdecimal() and 1 <= int(first) <= int(last) <= SEVERITIES[-1]):
            raise UsageError(
                f"--severities {text!r} is nothing like 1-5, 3 or 1,3,5 (they go from 1 to {SEVERITIES[-1]})"
            )
        found += range(int(first), int(last) + 1)
    return sorted(set(found))


def _open_images(config: EvalConfig, crop: ModelCrop) -> tuple[RecordImages, str]:
    """Open ``--data`` and say what crops it holds. Raises UsageError where they are others than the model's."""
    path = Path(config.data)
    if path.suffix != ".rec":
        raise UsageError(f"--data {config.data!r} is no .rec: only crops in the model's own template are corrupted")
    if not any(file.exists() for file in find_shards(path)):
        raise UsageError(f"{path} is not there; --data names another (create_dataset.py packs them)")
    records = open_records(path)
    info = read_set_info(records.path)
    if info is not None and info.body != "jpeg":
        raise DataError(f"{info.path}: the records hold {info.body}, not images")
    other = evaluate.other_template(info, crop)
    if other is not None:
        raise UsageError(f"{path} is in the crop template {other}; pack the faces in the model's template")
    order = config.label_order or (info.labels if info is not None else LABEL_ORDERS[0])
    if order not in LABEL_ORDERS:
        raise UsageError(f"label order {order!r} is neither {' nor '.join(map(repr, LABEL_ORDERS))}")
    images = RecordImages(records, label_order=order)
    if info is None or crop.template is None:
        return images, say("crop_unnamed", "en")
    how = say("crop_template", "en", template=crop.template.name)
    return images, say("synthetic", "en", crop=how) if info.synthetic else how


def _chosen(count: int, limit: int | None) -> list[int]:
    """Return the rows to score: all, or ``limit`` spread evenly, because sets may be packed in order of age."""
    if not count:
        raise DataError("the record set is empty")
    if limit is None or limit >= count:
        return list(range(count))
    return [int(row) for row in np.linspace(0, count - 1, limit)]


def _no_detector() -> NoReturn:
    raise AssertionError("crops need no detector")


def _cell(value: float, form: str) -> str:
    return UNKNOWN if np.isnan(value) else format(value, form)


def _graded(name: str) -> str:
    """Return the amounts of the severities in words."""
    corruption = CORRUPTIONS[name]
    if not corruption.amounts:
        return ""
    return f" (severities: {', '.join(f'{amount:.3g}' for amount in corruption.amounts)} {corruption.unit})"


def _parser() -> argparse.ArgumentParser:
    listed = "\n".join(f"  {name:8} {corruption.summary}{_graded(name)}" for name, corruption in CORRUPTIONS.items())
    parser = argparse.ArgumentParser(
        prog="robustness.py",
        description=__doc__,
        epilog=f"corruptions:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--model", metavar="MODEL", help="PREFIX,EPOCH or a name (default: the newest run, else the shipped one)")
    add("--data", default="dataset/test.rec", metavar="FILE", help="records (default: dataset/test.rec)")
    add("--engine", choices=("auto", *EXECUTORS), default="auto", help="what runs the net; auto: as in train")
    add("--gpu_ids", metavar="IDS", help="GPUs, as 0,1, or cpu (default: the first GPU, else CPU)")
    add("--batch_size", type=int, default=128, metavar="N", help="faces at once (default: 128)")
    add("--limit", type=int, metavar="N", help="score only N faces, spread evenly over the set")
    add("--csv", metavar="FILE", help="write all figures of every row")
    add("--severities", metavar="1-5", help="grade each corruption: 1-5, 3 or 1,3,5 (default: its usual amount)")
    add("--plot", metavar="FILE", help="draw MAE over severity")
    add("--seed", type=int, default=0, help="seed of what is drawn (default: 0)")
    add("--label_order", choices=LABEL_ORDERS, help="order of the labels (default: what the set says)")
    add("--bad_records", choices=("stop", "skip"), default="stop", help="stop at a bad record, or leave it out")
    return parser


if __name__ == "__main__":
    sys.exit(main())
