"""Show what a sharper age distribution and another gender threshold would change on a validation set, and write them.

python tools/adjust.py runs/mean/model --data dataset/val.rec
python tools/adjust.py runs/mean/model --data dataset/val.rec --sharpen 1.3 --gender_shift 0.4 --output runs/fair/model

Prints two Markdown tables. Sharpness multiplies the logits of the age, so that the expected age of the very young and
the very old is drawn less towards the middle. The shift is taken off the logit of male: above 0 more faces are called
female; women and men are right equally often where the last two columns agree, and the gap is between the best and the
worst cell of gender x group (those of 30 faces or more). With --output both go into the weights of a new checkpoint,
which needs no other treatment than any: choose on val, then calibrate (tools/calibrate.py) and score on test.

Exit code: 0 all well, 1 bad data or a checkpoint that can't be used, 2 wrong usage.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from agegender.app import evaluate
from agegender.app.ending import exit_code_of
from agegender.app.evaluation.config import EvalConfig
from agegender.app.evaluation.faces import FaceSet, model_crop
from agegender.app.evaluation.model import EvalModel
from agegender.app.evaluation.report import exact_ages
from agegender.app.parser import CommandParser
from agegender.errors import CheckpointError, DataError, UsageError
from agegender.executor import EXECUTORS
from agegender.graph.checkpoint import params_path, save_checkpoint
from agegender.graph.info import write_info
from agegender.labels import FEMALE, MALE
from agegender.metrics import ScoreKeeper, Scores
from agegender.pipeline.labelled import LABEL_ORDERS

Floats = npt.NDArray[np.float64]
SHARPNESS = (1.0, 1.15, 1.3, 1.5, 2.0)
SHIFTS = (-0.2, 0.0, 0.2, 0.4, 0.6, 0.8)
EPOCH, FEW = 1, 30
AGE, GENDER = "age_logits", "gender_logits_bias"


@dataclasses.dataclass(frozen=True)
class Told:
    """What the net says of n faces: ``gender`` (n, 2) and ``age`` (n, classes) as log probabilities, ``years``
    (classes,) the age of each class, ``labels`` (n, 2 or 5), ``groups`` (n,), "" where none is known."""

    gender: Floats
    age: Floats
    years: Floats
    labels: npt.NDArray[np.float32]
    groups: npt.NDArray[np.str_]

    def ages(self, sharpness: float) -> Floats:
        """Return the expected ages (n,) in years."""
        logits = sharpness * self.age
        mass = np.exp(logits - logits.max(axis=1, keepdims=True))
        return np.asarray(mass @ self.years / mass.sum(axis=1), np.float64)

    def scores(self, *, sharpness: float, shift: float) -> Scores:
        """Return the figures that a net so adjusted has on these faces."""
        keeper = ScoreKeeper()
        odds = np.exp(np.clip(self.gender[:, FEMALE] - self.gender[:, MALE] + shift, -700, 700))
        keeper.update(labels=self.labels, gender_probability=1 / (1 + odds), age=self.ages(sharpness))
        return keeper.compute()

    def right(self, shift: float) -> npt.NDArray[np.bool_]:
        """Return for which faces (n,) the gender is right."""
        male = self.gender[:, MALE] - shift >= self.gender[:, FEMALE]
        return np.asarray(male == (self.labels[:, 0] == MALE))


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables, write the checkpoint where one is asked for, and return the exit code."""
    args = _parser().parse_args(argv)
    return exit_code_of(lambda: _run(args), prog="adjust.py")


def age_table(told: Told, sharpness: Sequence[float]) -> Iterator[str]:
    """Yield a Markdown table: MAE and CUM_5 by sharpness, over all, under 10 and from 60."""
    truth = exact_ages(told.labels)
    parts = {"MAE": truth >= 0, "under 10": (truth >= 0) & (truth < 10), "from 60": truth >= 60}
    yield "| sharpness | " + " | ".join([*parts, "CUM_5"]) + " |"
    yield "|---" * (len(parts) + 2) + "|"
    for each in sharpness:
        off = np.abs(told.ages(each) - truth)
        cells = [f"{off[faces].mean():.3f}" if faces.any() else "-" for faces in parts.values()]
        yield f"| {each:g} | " + " | ".join([*cells, f"{(off[truth >= 0] <= 5).mean():.1%}"]) + " |"


def gender_table(told: Told, shifts: Sequence[float]) -> Iterator[str]:
    """Yield a Markdown table: how often the gender is right by shift, the gap between cells, women and men."""
    gender = told.labels[:, 0]
    cells = [
        faces
        for group in sorted(set(told.groups.tolist()) - {""})
        for sex in (FEMALE, MALE)
        if (faces := (told.groups == group) & (gender == sex)).sum() >= FEW
    ]
    yield "| shift | gender acc | gap of cells | women | men |"
    yield "|---|---|---|---|---|"
    for shift in shifts:
        right = told.right(shift)
        rates = [right[faces].mean() for faces in cells]
        gap = f"{max(rates) - min(rates):.3f}" if rates else "-"
        both = [f"{right[gender == sex].mean():.1%}" if (gender == sex).any() else "-" for sex in (FEMALE, MALE)]
        yield f"| {shift:g} | {right[gender >= 0].mean():.4f} | {gap} | {both[0]} | {both[1]} |"


def adjusted(
    params: Mapping[str, npt.NDArray[Any]], *, sharpness: float, shift: float
) -> dict[str, npt.NDArray[np.float32]]:
    """Return ``params`` with the age's logits times ``sharpness`` and the logit of male less ``shift``.

    Raises CheckpointError where the net has no such layers, as with other heads than dex.
    """
    changed = dict(params)
    for name in (f"arg:{AGE}_weight", f"arg:{AGE}_bias", f"arg:{GENDER}"):
        if name not in params:
            raise CheckpointError(f"the net has no {name}: only head dex can be adjusted")
    for name in (f"arg:{AGE}_weight", f"arg:{AGE}_bias"):
        changed[name] = np.asarray(params[name] * np.float32(sharpness), np.float32)
    bias = params[f"arg:{GENDER}"].astype(np.float32).copy()
    bias[MALE] -= shift
    changed[f"arg:{GENDER}"] = bias
    return changed


def _run(args: argparse.Namespace) -> int:
    if not args.sharpen > 0:
        raise UsageError(f"--sharpen {args.sharpen:g} is not above 0")
    names = ("model", "data", "batch_size", "gpu_ids", "engine", "label_order")
    config = EvalConfig(**{name: getattr(args, name) for name in names})
    evaluate.check_options(config)
    if args.output is not None and params_path(args.output, EPOCH).exists():
        raise UsageError(f"{params_path(args.output, EPOCH)} is there already; --output names a new prefix")
    model = evaluate.open_model(config, "en")
    if model.checkpoint is None:
        raise UsageError(f"{model.prefix} was exported; adjust its checkpoint and export again")
    params = adjusted(model.checkpoint.params, sharpness=args.sharpen, shift=args.gender_shift)
    told = _tell(evaluate.open_faces(config, model_crop(model), "en"), model, config)
    print("\n".join(age_table(told, sorted({*SHARPNESS, args.sharpen}))), end="\n\n")
    print("\n".join(gender_table(told, sorted({*SHIFTS, args.gender_shift}))))
    if args.output is None:
        print("nothing written: --output PREFIX writes --sharpen and --gender_shift into a checkpoint", file=sys.stderr)
    else:
        _write(model, params, told.scores(sharpness=args.sharpen, shift=args.gender_shift), args)
    return 0


def _tell(faces: FaceSet, model: EvalModel, config: EvalConfig) -> Told:
    read = model.open(config.engine, config.gpu_ids)
    assert model.info is not None
    rows, labels, gender, age = [], [], [], []
    for batch in faces.batches():
        reading = read(batch.data)
        assert not isinstance(reading, tuple)
        if reading.gender is None or reading.distribution is None:
            raise UsageError(
                f"{model.prefix} tells no gender or no distribution of ages: only head dex can be adjusted"
            )
        gender.append(reading.gender)
        age.append(reading.distribution)
        rows += batch.rows.tolist()
        labels.append(batch.labels.copy())
    if not rows:
        raise DataError(f"{config.data}: not one of its {len(faces)} faces can be scored")
    origins = faces.origins()
    tiny = np.finfo(np.float32).tiny
    log_gender, log_age = (np.log(np.maximum(np.concatenate(part), tiny, dtype=np.float64)) for part in (gender, age))
    groups = np.array([origins[row].group for row in rows], str)
    years = np.arange(log_age.shape[1], dtype=np.float64)
    return Told(log_gender, log_age, years, np.concatenate(labels), groups)


def _write(model: EvalModel, params: Mapping[str, npt.NDArray[Any]], scores: Scores, args: argparse.Namespace) -> None:
    assert model.checkpoint is not None and model.info is not None
    args.output.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(args.output, EPOCH, graph=model.checkpoint.graph, params=params)
    how = {
        "prefix": str(model.prefix),
        "epoch": model.epoch,
        "sharpen": args.sharpen,
        "gender_shift": args.gender_shift,
        "chosen_on": Path(args.data).name,
    }
    extra = {**model.info.extra, "adjusted": how}
    metrics = {str(EPOCH): scores.as_json()}
    info = dataclasses.replace(model.info, best=EPOCH, last=EPOCH, metrics=metrics, calibration={}, extra=extra)
    write_info(args.output, info)
    print(f"written: {params_path(args.output, EPOCH)}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = CommandParser(
        command="adjust", prog="adjust.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", metavar="MODEL", help="name or PREFIX,EPOCH of a checkpoint with head dex")
    parser.add_argument("--data", default="dataset/val.rec", metavar="REC", help="never what is reported on")
    parser.add_argument("--sharpen", type=float, default=1.0, metavar="K", help="times the age's logits (default: 1)")
    parser.add_argument(
        "--gender_shift", type=float, default=0.0, metavar="D", help="off the logit of male (default: 0)"
    )
    parser.add_argument("--output", type=Path, metavar="PREFIX", help="prefix of the new checkpoint, epoch 1")
    parser.add_argument("--batch_size", type=int, default=64, metavar="N")
    parser.add_argument("--gpu_ids", metavar="IDS", help="as eval.py's")
    parser.add_argument("--engine", default="auto", choices=("auto", *EXECUTORS))
    parser.add_argument(
        "--label_order",
        choices=LABEL_ORDERS,
        metavar="ORDER",
        help=f"order of the labels: {'; '.join(LABEL_ORDERS)} (default: the set's own)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
