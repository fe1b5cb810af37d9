"""Score a model on records as they are and under each corruption of agegender.face.corruption: a table for its card.

python tools/robustness.py --model ssrnet --data dataset/test.rec
python tools/robustness.py --model ssrnet --data dataset/test.rec --severities 1-5 --plot robustness.png

With --severities each corruption goes through its amounts from 1 (hardly seen) to 5 (a face people still make out), and
the tables are MAE and gender accuracy by severity; mirror has none. Behind ± stands half the width of the 95% interval
(bootstrap of 1,000 resamples, seed 0, over faces, or over whole people where the set knows them); --csv has both ends.

The faces are corrupted at the size in which the records hold them, then brought to the net's input. What is drawn
depends on the seed and on a face's place in the set. Prints Markdown; "change of MAE" is MAE minus clean MAE.
Exit code: 0 all well, 1 bad data (also where bad records were left out), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import csv
import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from tqdm import tqdm

from agegender.app import evaluate
from agegender.app.ending import exit_code_of
from agegender.app.evaluation.config import EvalConfig
from agegender.app.evaluation.faces import CroppedFaces, ModelCrop, model_crop
from agegender.app.evaluation.images import Image, Origin, RecordImages
from agegender.app.evaluation.model import Read
from agegender.app.evaluation.report import CUM_YEARS, exact_ages
from agegender.app.messages import say
from agegender.app.named_files import check_diagram, check_outputs
from agegender.app.parser import CommandParser
from agegender.errors import DataError, UsageError
from agegender.executor import EXECUTORS
from agegender.face.corruption import CORRUPTIONS, SEVERITIES, corrupt
from agegender.files import atomic_path, write_text
from agegender.labels import FEMALE, MALE
from agegender.metrics import ScoreKeeper, Scores
from agegender.metrics.intervals import mean_intervals
from agegender.pipeline.labelled import LABEL_ORDERS
from agegender.pipeline.set_info import read_set_info
from agegender.readout import Reading
from agegender.recordio import find_shards, open_records

CLEAN = "clean"
HEAD = ("corruption", "gender acc", "MAE", f"CUM_{CUM_YEARS}", "change of MAE")
UNKNOWN = "-"
# Title, name in Scores, format.
FIGURES = (("MAE", "mae", ".2f"), ("gender acc", "acc", ".1%"))
# A row of the results: the corruption and its severity, None for the usual amount.
Row = tuple[str, int | None]
CLEAN_ROW: Row = (CLEAN, None)
# What each face adds to a mean (n,), and which faces count in it (n,).
Term = tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]
Interval = tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a pass found: its ``scores``, and of each of its n faces ``off`` (n,) the absolute error in years and
    ``right`` (n,) 1 or 0 for its gender, each with the faces ``aged`` and ``sexed`` (n,) that count; ``rows`` (n,) are
    their places in the set.
    """

    scores: Scores
    off: npt.NDArray[np.float64]
    aged: npt.NDArray[np.bool_]
    right: npt.NDArray[np.float64]
    sexed: npt.NDArray[np.bool_]
    rows: npt.NDArray[np.int64]

    def term(self, figure: str) -> Term:
        """Return what ``figure`` (mae or acc) is the mean of."""
        return (self.off, self.aged) if figure == "mae" else (self.right, self.sexed)


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


def score(faces: CroppedFaces, read: Read, *, progress: Callable[[int], Any]) -> Told:
    """Run every face through the net and return what it tells; ``progress`` hears of the faces of each batch.

    Raises RecordError for a bad record unless such are skipped, DataError where no face can be scored.
    """
    keeper = ScoreKeeper()
    parts: list[tuple[Any, ...]] = []
    for batch in faces.batches():
        reading = read(batch.data)
        keeper.update(labels=batch.labels, gender_probability=reading.gender, age=reading.age)
        parts.append((batch.rows, *_each(batch.labels, reading)))
        progress(len(batch.rows))
    scores = keeper.compute()
    if not scores.n:
        raise DataError(f"not one of the {len(faces)} faces can be scored: {faces.losses.skipped[0]}")
    rows, off, aged, right, sexed = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Told(scores=scores, off=off, aged=aged, right=right, sexed=sexed, rows=rows)


def table(found: Mapping[Row, Scores]) -> Iterator[str]:
    """Yield the lines of a Markdown table; shares in percent, ages in years, a dash where no label is known."""
    yield f"| {' | '.join(HEAD)} |"
    yield "|---" * len(HEAD) + "|"
    clean = found[CLEAN_ROW].mae
    for row, scores in found.items():
        change = "" if row == CLEAN_ROW else _cell(scores.mae - clean, "+.2f")
        figures = [_cell(scores.acc, ".1%"), _cell(scores.mae, ".2f"), _cell(scores.cum[CUM_YEARS], ".1%")]
        yield f"| {' | '.join([row[0], *figures, change])} |"


def severity_tables(
    found: Mapping[Row, Told], severities: Sequence[int], clusters: Sequence[str] | None
) -> Iterator[str]:
    """Yield the lines of two Markdown tables, MAE and gender accuracy: corruptions by severity, and their mean.

    Each cell has half the width of its 95% interval behind it; a mean's is over the same faces in all its cells.
    """
    names = graded(found)
    clean = found[CLEAN_ROW]
    said = []
    for title, figure, form in FIGURES:
        [end] = _intervals([clean.term(figure)], clusters)
        said.append(f"{title} {_spread(getattr(clean.scores, figure), end, form)}")
    yield f"clean: {', '.join(said)} (n={clean.scores.n})"
    for title, figure, form in FIGURES:
        grid = [[found[name, severity].term(figure) for severity in severities] for name in names]
        # The faces that count are the same in all cells, so the mean of a row is a mean over faces too.
        grid = [[*row, _mean(row)] for row in grid]
        grid.append([_mean(column) for column in zip(*grid, strict=True)])
        flat = [cell for row in grid for cell in row]
        ends = iter(_intervals(flat, clusters))
        yield ""
        yield f"| {' | '.join([title, *map(str, severities), 'mean'])} |"
        yield "|---" * (len(severities) + 2) + "|"
        for name, row in zip([*names, "mean"], grid, strict=True):
            cells = [_spread(_average(cell), next(ends), form) for cell in row]
            yield f"| {' | '.join([name, *cells])} |"


def graded(found: Mapping[Row, Any]) -> list[str]:
    """Return the corruptions that were graded, in their order."""
    return list(dict.fromkeys(name for name, severity in found if severity is not None))


def write_csv(path: Path, found: Mapping[Row, Told], clusters: Sequence[str] | None) -> None:
    """Write a line per row with all its figures, unrounded; what is not known, or no severity, is empty.

    ``_low`` and ``_high`` are the ends of 95% intervals; that of ``MAE_change`` is of the differences on each face.
    """
    text = io.StringIO()
    rows: list[dict[str, Any]] = []
    clean = found[CLEAN_ROW]
    columns = [
        column
        for told in found.values()
        for column in (told.term("mae"), told.term("acc"), (told.off - clean.off, told.aged))
    ]
    ends = iter(_intervals(columns, clusters))
    for (name, severity), told in found.items():
        change = told.scores.mae - clean.scores.mae
        amount = {"severity": severity, "amount": CORRUPTIONS[name].amounts[severity - 1]} if severity else {}
        line = {"corruption": name, **amount, **told.scores.as_json()}
        line["MAE_change"] = None if np.isnan(change) else change
        for figure in ("MAE", "acc", "MAE_change"):
            line[f"{figure}_low"], line[f"{figure}_high"] = next(ends) or (None, None)
        rows.append(line)
    # The clean row is without severity, so the heads are those of the last.
    writer = csv.DictWriter(text, fieldnames=list(rows[-1]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def draw(path: Path, found: Mapping[Row, Scores], severities: Sequence[int]) -> None:
    """Draw MAE over severity, a panel per corruption."""
    from agegender.plots.robustness import draw_robustness

    curves = {name: [found[name, severity].mae for severity in severities] for name in graded(found)}
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
    found: dict[Row, Told] = {}
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
    origins = images.origins()
    names = [origins[rows[place]].subject for place in found[CLEAN_ROW].rows.tolist()]
    people = names if all(names) else None
    scores = {row: told.scores for row, told in found.items()}
    print("\n".join(severity_tables(found, severities, people) if severities else table(scores)))
    if args.csv:
        write_csv(Path(args.csv), found, people)
        print(f"figures: {args.csv}", file=sys.stderr)
    if args.plot:
        draw(Path(args.plot), scores, severities)
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


def _each(labels: npt.NDArray[np.float32], reading: Reading) -> tuple[npt.NDArray[Any], ...]:
    """Return of a batch what ``Told`` holds: off, aged, right, sexed; nobody counts in what the net doesn't tell."""
    off = right = np.zeros(len(labels))
    aged = sexed = np.zeros(len(labels), bool)
    if reading.age is not None:
        exact = exact_ages(labels)
        off, aged = np.abs(reading.age.astype(np.float64) - exact), exact >= 0
    if reading.gender is not None:
        male = reading.gender[:, MALE] > reading.gender[:, FEMALE]
        right, sexed = (male == (labels[:, 0] == MALE)).astype(np.float64), labels[:, 0] >= 0
    return off, aged, right, sexed


def _intervals(terms: Sequence[Term], clusters: Sequence[str] | None) -> list[Interval]:
    """Return the 95% intervals of the means, the same faces, or people (``clusters``, n), drawn for all of them."""
    values, known = (np.stack(column, axis=1) for column in zip(*terms, strict=True))
    return mean_intervals(values, known, clusters=clusters)


def _mean(cells: Sequence[Term]) -> Term:
    return np.mean([values for values, _ in cells], axis=0), cells[0][1]


def _average(term: Term) -> float:
    values, known = term
    return float(values[known].mean()) if known.any() else float("nan")


def _spread(value: float, ends: Interval, form: str) -> str:
    """Return a figure and, behind ±, half the width of its interval in the same unit."""
    return _cell(value, form) + ("" if ends is None else f" ±{format((ends[1] - ends[0]) / 2, form)}")


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
    parser = CommandParser(
        prog="robustness.py",
        command="robustness",
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
    add("--label_order", choices=LABEL_ORDERS, metavar="ORDER", help=f"{'; '.join(LABEL_ORDERS)} (default: the set's)")
    add("--bad_records", choices=("stop", "skip"), default="stop", help="stop at a bad record, or leave it out")
    return parser


if __name__ == "__main__":
    sys.exit(main())
