"""The flags of infer.py."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

from agegender.app.inference.targets import PICTURE_SUFFIXES
from agegender.config import add_options, collect, option, parse_bool
from agegender.deploy.detectors import DETECTORS
from agegender.errors import UsageError
from agegender.executor import EXECUTORS

STANDARD_OUTPUT = "-"
_DEFAULT_THRESHOLDS = (0.6, 0.7, 0.8)


@dataclass(frozen=True, kw_only=True)
class InferConfig:
    """Options of infer.py besides ``--image``. ``json`` is a file, ``-`` for standard output, or None."""

    model: str | None = option(
        None,
        help="PREFIX,EPOCH, the name of a model or an .onnx file (default: the newest run, else the shipped model)",
        metavar="MODEL",
    )
    age_model: str | None = option(
        None, help="with --gender_model, instead of --model: the net that tells the age", metavar="MODEL"
    )
    gender_model: str | None = option(
        None, help="with --age_model, instead of --model: the net that tells the gender", metavar="MODEL"
    )
    embeddings: tuple[str, ...] = option(
        (),
        help="instead of photos: .npy files of embeddings (n, d), for a model that was trained on such (mlp)",
        metavar="FILE",
        nargs="+",
    )
    template: str | None = option(
        None, help="crop template of a model that doesn't say its own: arcface or utkface", metavar="NAME"
    )
    min_confidence: float | None = option(
        None, help="don't tell the gender of a face where its probability is below this", metavar="P"
    )
    mc_dropout: int | None = option(
        None,
        help="ask the net so many times (such as 32) with dropout left on: means, and how far the answers are apart",
        metavar="PASSES",
    )
    seed: int = option(0, help="of --mc_dropout: draws what is dropped", metavar="N")
    detector: str = option("mtcnn", help="face detector; none: each photo is a crop", choices=DETECTORS)
    det_model: str | None = option(None, help="weights of the detector, where not those it brings", metavar="PATH")
    det_threshold: tuple[float, ...] = option(
        _DEFAULT_THRESHOLDS,
        help="least face probabilities of mtcnn's P-, R- and O-Net, or O-Net's or another detector's alone",
        metavar="P[,R,O]",
    )
    min_face: float = option(20.0, help="smallest face to look for, in pixels", metavar="PIXELS")
    engine: str = option(
        "auto", choices=("auto", *EXECUTORS), help="what runs the model; auto: onnxruntime where it is installed"
    )
    gpu_ids: str | None = option(None, help="GPU to compute on, or cpu (default: the first GPU, else CPU)", metavar="N")
    threads: int | None = option(None, help="threads that compute on a processor (default: one a core)", metavar="N")
    output: str = option(
        "output",
        help="folder for the annotated pictures, with the subfolders of --image, or, for one photo, a file ending in "
        f"{', '.join(PICTURE_SUFFIXES)}; a name that ends in / is always a folder; none: no pictures",
        metavar="PATH",
    )
    json: str | None = None
    distribution: bool = option(False, help="with --json: the probability of each age 0..100 as well")
    csv: str | None = option(
        None, help="one row per face in FILE, and one per photo without a face or with an error", metavar="FILE"
    )
    resume: bool = option(False, help="go on with the files of --json and --csv: leave out photos that are in them")
    contact_sheet: str | None = option(
        None, help="one picture of the faces of all photos with their labels (the first 200 faces)", metavar="FILE"
    )
    lang: str | None = option(None, help="language: en or zh (default: the locale's)", choices=("en", "zh"))
    show: bool = option(False, help="open a window as well")

    @property
    def thresholds(self) -> tuple[float, float, float]:
        """Return the thresholds of MTCNN's three networks. Raises UsageError where two numbers are given."""
        given = self.det_threshold or _DEFAULT_THRESHOLDS
        if len(given) == 1:
            return *_DEFAULT_THRESHOLDS[:2], given[0]
        if len(given) != 3:
            raise UsageError(f"--det_threshold takes one number or three, not {len(given)}")
        return given[0], given[1], given[2]

    @property
    def files(self) -> dict[str, str]:
        """Return the files that are written besides the pictures, by their flags."""
        named = {"--json": self.json, "--csv": self.csv, "--contact_sheet": self.contact_sheet}
        return {flag: name for flag, name in named.items() if name is not None and name != STANDARD_OUTPUT}


def add_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags of InferConfig and ``--image`` to ``parser``."""
    parser.add_argument(
        "--image",
        nargs="+",
        action="extend",
        metavar="PATH",
        help="photo, folder of photos (with its subfolders) or pattern with * or **; -: a list of paths on standard "
        "input, one a line; several may be given (default: test.jpg)",
    )
    # Alone it means standard output; no other flag can be written in both ways.
    parser.add_argument(
        "--json",
        nargs="?",
        type=_json_place,
        const=STANDARD_OUTPUT,
        default=None,
        metavar="FILE",
        help="one JSON object per photo, in FILE or, without one, on standard output and nothing else there",
    )
    add_options(parser, InferConfig, title="options")


def collect_config(args: argparse.Namespace) -> InferConfig:
    """Return the options. Raises UsageError for options that don't go together or are out of range."""
    config = collect(InferConfig, args)
    pair = {"--age_model": config.age_model, "--gender_model": config.gender_model}
    if any(pair.values()):
        missing = next((flag for flag, value in pair.items() if value is None), None)
        if missing is not None:
            raise UsageError(f"--age_model and --gender_model go together: {missing} is missing")
        if config.model is not None:
            raise UsageError("--model is one net for both; --age_model and --gender_model are two: give either")
    if config.resume and not {"--json", "--csv"} & set(config.files):
        raise UsageError("--resume goes on with a file: name it, --json FILE or --csv FILE")
    if config.min_confidence is not None:
        # Here: it computes with numpy, which --help does without.
        from agegender.calibration import check_min_confidence

        check_min_confidence(config.min_confidence, name="--min_confidence")
    if config.mc_dropout is not None:
        from agegender.executor.monte_carlo import check_passes

        check_passes(config.mc_dropout, name="--mc_dropout")
    if config.threads is not None and config.threads < 1:
        raise UsageError(f"--threads {config.threads}: at least 1")
    _check_suffixes(config)
    return config


def _check_suffixes(config: InferConfig) -> None:
    for flag in ("--json", "--csv"):
        name = config.files.get(flag, "")
        # A photo that was meant for --image.
        if Path(name).suffix.lower() in (*PICTURE_SUFFIXES, ".gif", ".webp", ".bmp", ".tif", ".tiff"):
            raise UsageError(f"{flag} {name} is named like a picture; photos go after --image")
    sheet = config.contact_sheet
    if sheet is not None and Path(sheet).suffix.lower() not in PICTURE_SUFFIXES:
        raise UsageError(f"--contact_sheet {sheet}: the name must end in {', '.join(PICTURE_SUFFIXES)}")


def _json_place(value: str) -> str | None:
    """Read the value of --json, which was once 1 or 0 alone: standard output or not."""
    try:
        return STANDARD_OUTPUT if parse_bool(value) else None
    except argparse.ArgumentTypeError:
        return value
