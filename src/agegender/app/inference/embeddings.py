"""``infer.py --embeddings``: age and gender of faces that a recogniser has made embeddings of, from .npy files."""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from agegender.app.inference.config import STANDARD_OUTPUT, InferConfig
from agegender.app.inference.model import find_told
from agegender.app.inference.report import say
from agegender.app.inference.texts import text
from agegender.app.messages import say as common
from agegender.app.named_files import check_outputs, spare_inputs
from agegender.app.run_statistics import note
from agegender.errors import DataError, UsageError
from agegender.files import write_text
from agegender.npy import as_vectors, read_npy
from agegender.service.vectors import describe

if TYPE_CHECKING:
    from agegender.deploy.vector_net import VectorNet

COLUMNS = ("file", "row", "gender", "gender_probability", "age", "age_low", "age_high", "gender_entropy", "age_entropy")
# Embeddings that go through the net at once, so that memory stays flat.
_BATCH = 4096

Told = list[dict[str, Any]]


def read_embeddings(args: argparse.Namespace, config: InferConfig, *, lang: str) -> int:
    """Print and write what the model tells of every embedding in ``config.embeddings``; the exit code is 0.

    Raises UsageError for flags that are for photos and for files that aren't there, DataError for a file that is no
    .npy file of embeddings as long as the model's, and what ``open_vector_net`` raises.
    """
    from agegender.deploy.vector_net import open_vector_net

    _refuse(args, config)
    files = [Path(name) for name in config.embeddings]
    for path in files:
        if not path.is_file():
            raise UsageError(f"--embeddings {path}: there is no such file")
    outputs = {flag: name for flag, name in config.files.items() if flag in ("--json", "--csv")}
    check_outputs(outputs)
    spare_inputs(outputs, files, role="which holds embeddings")
    net = open_vector_net(
        find_told(config.model, lang, takes="embeddings"),
        engine=config.engine,
        gpu_ids=config.gpu_ids,
        threads=config.threads,
        mc_dropout=config.mc_dropout,
        seed=config.seed,
    )
    found = {path: _tell(net, path, config) for path in files}
    if config.json == STANDARD_OUTPUT:
        print("\n".join(_json_lines(found)))
    else:
        for path, told in found.items():
            for row, face in enumerate(told):
                say(_line(path, row, face, lang))
    if "--json" in outputs:
        write_text(outputs["--json"], "".join(f"{line}\n" for line in _json_lines(found)))
    if "--csv" in outputs:
        write_text(outputs["--csv"], _table(found))
    for name in outputs.values():
        say(common("written", lang, what=text("told", lang), path=name), sys.stderr)
    note(args, files=len(files), embeddings=sum(map(len, found.values())))
    return 0


def read_file(path: Path, width: int) -> npt.NDArray[np.float32]:
    """Return the embeddings (n, width) float32 in the .npy file ``path``. Raises DataError, naming it, for others."""
    try:
        return as_vectors(read_npy(path.read_bytes()), width)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def _refuse(args: argparse.Namespace, config: InferConfig) -> None:
    given = {
        "--image": args.image,
        "--resume": config.resume,
        "--contact_sheet": config.contact_sheet,
        "--show": config.show,
        "--age_model": config.age_model,
        "--template": config.template,
    }
    for flag, value in given.items():
        if value:
            raise UsageError(f"{flag} is for photos, --embeddings are none: give either")


def _tell(net: VectorNet, path: Path, config: InferConfig) -> Told:
    """Return what the net says of each embedding of a file, as the service's answers have it."""
    vectors = read_file(path, net.width)
    told: Told = []
    for start in range(0, len(vectors), _BATCH):
        reading = net.read(vectors[start : start + _BATCH])
        least, count = config.min_confidence or 0.0, len(vectors[start : start + _BATCH])
        faces = [describe(reading, row, distribution=config.distribution, min_confidence=least) for row in range(count)]
        if reading.doubt is not None and reading.doubt.age_deviation is not None:
            for face, deviation in zip(faces, reading.doubt.age_deviation.tolist(), strict=True):
                face["age_deviation"] = round(deviation, 3)
        told += faces
    return told


def _line(path: Path, row: int, face: dict[str, Any], lang: str) -> str:
    gender = common(face["gender"] or "unknown", lang)
    age = common("unknown", lang) if face["age"] is None else f"{face['age']:.0f}"
    if lang == "en" and face["gender"] is not None:
        gender += f" ({face['gender_probability']:.2f})"
    if lang == "en" and face["age_interval"] is not None:
        age += f" ({face['age_interval'][0]:.0f} to {face['age_interval'][1]:.0f})"
    entropies = (face["gender_entropy"], face["age_entropy"])
    bits = ", ".join("-" if value is None else f"{value:.2f}" for value in entropies)
    return text("embedding", lang, file=path, row=row, gender=gender, age=age, bits=bits)


def _json_lines(found: dict[Path, Told]) -> Iterator[str]:
    for path, told in found.items():
        yield json.dumps({"embeddings": str(path), "faces": told}, ensure_ascii=False)


def _table(found: dict[Path, Told]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for path, told in found.items():
        writer.writerows(_cells(path, row, face) for row, face in enumerate(told))
    return out.getvalue()


def _cells(path: Path, row: int, face: dict[str, Any]) -> Sequence[Any]:
    low, high = face["age_interval"] or ("", "")
    named = {**face, "age_low": low, "age_high": high, "file": path, "row": row}
    return ["" if named[name] is None else named[name] for name in COLUMNS]
