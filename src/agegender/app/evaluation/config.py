"""The flags of eval.py."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from agegender.app.named_files import spare_inputs
from agegender.config import option
from agegender.executor import EXECUTORS

# Shares of the age intervals that a report looks at.
REPORT_SHARES = (0.5, 0.8, 0.9)
TABLES = ("group", "source", "age", "gender")
# What --report writes into its folder.
REPORT_FILES = ("index.html", "report.json", "tables.csv", "faces.csv")


@dataclass(frozen=True, kw_only=True)
class EvalConfig:
    """Options of eval.py."""

    model: str | None = option(
        None,
        help="PREFIX,EPOCH or the name of a model (default: the newest run, else the shipped one)",
        metavar="MODEL",
    )
    data: str = option(
        "dataset/val.rec", help="records (.rec), or a list path,gender,age (.txt, .csv); several: a table of them",
        metavar="FILE", nargs="+",
    )  # fmt: skip
    compare: tuple[str, ...] | None = option(
        None, help="two models, or two files of faces that --csv wrote: how the second differs from the first",
        metavar=("A", "B"), nargs=2,
    )  # fmt: skip
    against: str | None = option(
        None, help="compare with insightface's genderage: insightface, or its genderage.onnx", metavar="NET"
    )
    batch_size: int = option(128, help="faces that go through the net at once", metavar="N")
    gpu_ids: str | None = option(None, help="GPUs, as 0,1, or cpu (default: the first GPU, else CPU)", metavar="IDS")
    engine: str = option("auto", choices=("auto", *EXECUTORS), help="what runs the net; auto: as in train")
    flip: bool = option(False, help="average over each face and its mirror image")
    mc_dropout: int | None = option(
        None, help="score the mean of so many passes with dropout left on, and say how far these are apart, and "
        "whether that tells who is wrong", metavar="PASSES",
    )  # fmt: skip
    seed: int = option(0, help="of --mc_dropout: draws what is dropped", metavar="N")
    calibration: bool = option(
        False, help="say how far probabilities and age intervals can be relied on: ECE, coverage"
    )
    by: tuple[str, ...] = option(("group",), help="tables to print where that is known: group, source, age, gender")
    csv: str | None = option(None, help="write the result of every face, or the table compared", metavar="FILE")
    plot: str | None = option(None, help="draw predicted over true ages", metavar="FILE")
    report: str | None = option(
        None, help="write a page with all figures, their intervals, JSON and CSV (index.html and more)",
        metavar="FOLDER",
    )  # fmt: skip
    report_faces: int = option(40, help="show so many of the worst faces on that page; 0: no face", metavar="N")
    recrop: bool = option(False, help="find and warp the faces anew where they are in another crop template")
    label_order: str | None = option(
        None, help="order of the labels: gender,age or age,gender (default: what the set says, else gender,age)",
        choices=("gender,age", "age,gender"), metavar="ORDER",
    )  # fmt: skip
    bad_records: str = option(
        "stop",
        choices=("stop", "skip"),
        help="on a bad record or photo: stop and name it, or leave it out and count it",
    )
    lang: str | None = option(None, help="language: en or zh (default: the locale's)", choices=("en", "zh"))

    @property
    def outputs(self) -> dict[str, str]:
        """The files to write, by flag."""
        return {flag: value for flag, value in (("--csv", self.csv), ("--plot", self.plot)) if value}

    def spare(self, inputs: Iterable[Path], *, role: str) -> None:
        """Refuse to write over ``inputs`` (see ``spare_inputs``), be it by a flag that names a file or by --report."""
        read = list(inputs) if self.report else inputs
        spare_inputs(self.outputs, read, role=role)
        for name in REPORT_FILES if self.report else ():
            spare_inputs({"--report": str(Path(self.report or "") / name)}, read, role=role)
