"""Fit a model's gender temperature and age intervals on a validation set, print what they change, and store them.

python tools/calibrate.py ssrnet --check dataset/test.rec
python tools/calibrate.py runs/m50/model --check dataset/test.rec --write

Fit on the set that chose the epoch, never on the one that is reported: --check names that. --write stores the result
in PREFIX.json, for this epoch alone, and renews the manifest.json of the folder of models that it lies in. Prints
Markdown: ECE over 15 bins of equal width and over 15 of equal mass, negative log likelihood in nats; widths and
interval scores in years. Exit code: 0 all well, 1 bad data (also where bad records were left out), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from agegender.app import evaluate
from agegender.app.ending import exit_code_of
from agegender.app.evaluation.config import EvalConfig
from agegender.app.evaluation.faces import FaceSet, model_crop
from agegender.app.evaluation.model import EvalModel
from agegender.app.evaluation.report import Results
from agegender.app.messages import say
from agegender.app.parser import CommandParser
from agegender.calibration import Calibration
from agegender.errors import CheckpointError, DataError, UsageError
from agegender.executor import EXECUTORS
from agegender.files import write_json
from agegender.graph.info import info_path, read_info, write_info
from agegender.metrics.calibration import (
    SHARES,
    expected_calibration_error,
    fit_gender_temperature,
    fit_intervals,
    fit_residuals,
    interval_scores,
    negative_log_likelihood,
    risk_coverage,
)
from agegender.pipeline.labelled import LABEL_ORDERS
from tools.manifest import describe

MIN_CONFIDENCES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
UNKNOWN = "-"
NONE = Calibration()


def main(argv: Sequence[str] | None = None) -> int:
    """Fit, print, store, and return the exit code."""
    args = _parser().parse_args(argv)
    return exit_code_of(lambda: _run(args), prog="calibrate.py")


def fit(results: Results, *, epoch: int | None) -> dict[str, Any]:
    """Return the calibration of a model as ``prefix.json`` keeps it: fitted where the model and the labels allow it.

    ``results.ends`` holds the intervals for ``SHARES`` where the model has a distribution over ages. Raises DataError
    where there is nothing to fit on, or too little.
    """
    gender, age = results.labels[:, 0], results.exact_ages
    found: dict[str, Any] = {"epoch": epoch}
    genders = results.genders()
    if genders is not None and (gender >= 0).any():
        found["gender_temperature"] = fit_gender_temperature(genders, gender)
    if results.age is not None and (age >= 0).any():
        if results.ends:
            found["age_shifts"] = fit_intervals(results.ends, age)
        else:
            found["residual_ages"], found["residual_widths"] = fit_residuals(results.age, age)
    if len(found) == 1:
        raise DataError("no face has a label of what the model tells, so nothing can be fitted")
    document: dict[str, Any] = _rounded(Calibration(**found).to_json())
    return document


def store(prefix: Path, document: dict[str, Any]) -> list[Path]:
    """Write ``document`` into ``prefix.json`` as the model's calibration; return the files that were written.

    Where the folder of models has a ``manifest.json``, that is renewed. Raises CheckpointError without ``prefix.json``.
    """
    info = read_info(prefix)
    if info is None:
        raise CheckpointError(f"{info_path(prefix)} does not exist: there is nothing to store the calibration in")
    info.calibration = document
    write_info(prefix, info)
    models = prefix.resolve().parent.parent
    manifest = models / "manifest.json"
    if not manifest.is_file():
        return [info_path(prefix)]
    write_json(manifest, describe(models))
    return [info_path(prefix), manifest]


def gender_table(scored: dict[str, Results], calibration: Calibration) -> Iterator[str]:
    """Yield a Markdown table: ECE and likelihood of each set before and after."""
    yield from _head("gender", "n", "ECE", "ECE, equal mass", "NLL")
    for name, results in scored.items():
        genders = results.genders()
        if genders is None:
            continue
        truth = results.labels[:, 0]
        for when, each in (("before", NONE), ("after", calibration)):
            values = each.gender(genders)
            ece = expected_calibration_error(values, truth)
            mass = expected_calibration_error(values, truth, binning="mass")
            likelihood = negative_log_likelihood(values, truth)
            cells = [_cell(ece, ".4f"), _cell(mass, ".4f"), _cell(likelihood, ".4f")]
            yield _row(f"{name}, {when}", f"{np.count_nonzero(truth >= 0):,}", *cells)


def age_table(scored: dict[str, Results], calibration: Calibration) -> Iterator[str]:
    """Yield a Markdown table: what the intervals of each set hold before and after, by share."""
    yield from _head("age", "n", "interval", "holds", "mean width", "interval score")
    for name, results in scored.items():
        if results.age is None:
            continue
        for share in SHARES:
            for when, each in (("before", NONE), ("after", calibration)):
                ends = each.correct(results.ends.get(share), age=results.age, share=share)
                if ends is None:
                    continue
                found = interval_scores(ends, results.exact_ages, share=share)
                cells = [_cell(found.coverage, ".1%"), _cell(found.width, ".2f"), _cell(found.score, ".2f")]
                yield _row(f"{name}, {when}", f"{found.n:,}", f"{share:.0%}", *cells)


def abstention_table(name: str, results: Results, calibration: Calibration) -> Iterator[str]:
    """Yield a Markdown table: the genders that ``min_confidence`` keeps, calibrated, and how many of them are right."""
    genders = results.genders()
    if genders is None:
        return
    yield ""
    yield from _head(f"min_confidence, {name}", "genders told", "right")
    for row in risk_coverage(calibration.gender(genders), results.labels[:, 0], MIN_CONFIDENCES):
        yield _row(f"{row.min_confidence:g}", _cell(row.kept, ".1%"), _cell(row.acc, ".1%"))


def _run(args: argparse.Namespace) -> int:
    config = _config(args, args.data)
    others = [] if args.check is None else [_config(args, args.check)]
    model = evaluate.open_model(config, "en")
    if args.write and model.onnx is not None:
        raise UsageError(f"--write: {model.prefix} was exported; calibrate its checkpoint and export again")
    crop = model_crop(model)
    # All are opened before any is scored: a wrong name is known at once.
    opened = [(each, evaluate.open_faces(each, crop, "en")) for each in (config, *others)]
    scored = {Path(each.data).stem: _score(faces, model, each) for each, faces in opened}
    fitted = next(iter(scored.values()))
    document = fit(fitted, epoch=model.epoch)
    calibration = Calibration.from_json(document)
    last = list(scored)[-1]
    print("\n".join(gender_table(scored, calibration)), end="\n\n")
    print("\n".join(age_table(scored, calibration)))
    print("\n".join(abstention_table(last, scored[last], calibration)))
    if args.write:
        scores = fitted.scores()
        about = {"data": Path(config.data).name, "n_gender": scores.n_gender, "n_age": scores.n_age}
        for path in store(model.prefix, {**document, "fitted_on": about}):
            print(f"written: {path}", file=sys.stderr)
    else:
        print(f"not stored: --write puts it into {info_path(model.prefix)}", file=sys.stderr)
    return 1 if any(faces.losses.skipped for _, faces in opened) else 0


def _score(faces: FaceSet, model: EvalModel, config: EvalConfig) -> Results:
    """Return what the model says of ``faces``; bad records that are left out are told on standard error."""
    results = evaluate.score(faces, model, config, "en", shares=SHARES)
    skipped = faces.losses.skipped
    if skipped:
        print(say("skipped", "en", count=len(skipped), first=skipped[0]), file=sys.stderr)
    if not len(results.rows):
        raise DataError(f"{config.data}: not one of its {len(faces)} faces can be scored")
    return results


def _config(args: argparse.Namespace, data: str) -> EvalConfig:
    """Return what eval.py would be told, and refuse what can't work before anything is computed."""
    if args.check is not None and Path(args.check).resolve() == Path(args.data).resolve():
        raise UsageError(f"--check {args.check!r} is what is fitted on, so it proves nothing: name another set")
    if args.check is not None and Path(args.check).stem == Path(args.data).stem:
        raise UsageError(f"--data {args.data!r} and --check {args.check!r} have the same name; rename one of them")
    names = ("model", "batch_size", "gpu_ids", "engine", "label_order", "bad_records")
    config = EvalConfig(data=data, **{name: getattr(args, name) for name in names})
    evaluate.check_options(config)
    return config


def _rounded(value: Any) -> Any:
    """Return a JSON value with its fractions rounded to six places: what is printed is what will be stored."""
    if isinstance(value, dict):
        return {name: _rounded(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_rounded(member) for member in value]
    return round(value, 6) if isinstance(value, float) else value


def _head(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield "|---" * len(names) + "|"


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(value: float, form: str) -> str:
    return UNKNOWN if math.isnan(value) else format(value, form)


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        prog="calibrate.py",
        command="calibrate",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("model", metavar="MODEL", help="PREFIX,EPOCH or the name of a model")
    add("--data", default="dataset/val.rec", metavar="FILE", help="faces to fit on (default: dataset/val.rec)")
    add("--check", metavar="FILE", help="other faces, on which the figures are printed as well")
    add("--write", action="store_true", help="store the calibration in PREFIX.json")
    add("--engine", choices=("auto", *EXECUTORS), default="auto", help="what runs the net; auto: as in train")
    add("--gpu_ids", metavar="IDS", help="GPUs, as 0,1, or cpu (default: the first GPU, else CPU)")
    add("--batch_size", type=int, default=128, metavar="N", help="faces at once (default: 128)")
    add(
        "--label_order",
        choices=LABEL_ORDERS,
        metavar="ORDER",
        help=f"order of the labels: {'; '.join(LABEL_ORDERS)} (default: what the set says)",
    )
    add("--bad_records", choices=("stop", "skip"), default="stop", help="stop at a bad record, or leave it out")
    return parser


if __name__ == "__main__":
    sys.exit(main())
