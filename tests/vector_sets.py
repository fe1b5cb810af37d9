"""Sets of embeddings from which gender and age can be told: written as tools/embed.py writes them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.face.templates import get_template
from agegender.labels import BIN_LABELS, LABELS
from agegender.npy import pack_vector
from agegender.recordio import Header, RecordWriter, pack

WIDTH = 12
EMBEDDING = {"model": "toy,1", "sha256": {"toy-0001.params": "00"}, "normalised": False}


def made_vectors(count: int, *, width: int = WIDTH, seed: int = 0) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return embeddings (n, width) float32 and labels (n, 2): the first number tells the gender, the second the age."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(0, 1, (count, width)).astype(np.float32)
    labels = np.stack([vectors[:, 0] > 0, np.clip(40 + 20 * vectors[:, 1], 0, 100).round()], axis=1)
    return vectors, labels.astype(np.float32)


def write_vectors(
    path: Path,
    count: int,
    *,
    width: int = WIDTH,
    seed: int = 0,
    folds: int = 0,
    bins: bool = False,
    **embedding: Any,
) -> npt.NDArray[np.float32]:
    """Write ``path`` (.rec) with its index, table and JSON and return the embeddings; two faces of each person.

    ``folds`` is how many the people are in, 0 for none; with ``bins`` decades are labelled; ``embedding`` changes what
    the JSON says of the embeddings.
    """
    vectors, labels = made_vectors(count, width=width, seed=seed)
    if bins:
        low = np.minimum(labels[:, 1:] // 10 * 10, 90)
        high = np.where(low == 90, 100, low + 9)
        labels = np.concatenate([labels, low, high, np.full_like(low, -1)], axis=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    with RecordWriter(path) as writer:
        for key, (vector, label) in enumerate(zip(vectors, labels)):
            writer.write(key, pack(Header(label, key), pack_vector(vector)))
    with path.with_suffix(".csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["key", "path", "source", "subject", "group", "box", "score", *(["fold"] if folds else [])])
        for key in range(count):
            fold = [f"f{key // 2 % folds}"] if folds else []
            table.writerow([key, f"{key}.jpg", "drawn", f"p{key // 2}", "", "", "", *fold])
    info = {"format": 1, "split": path.stem, "records": count, "sources": {"drawn": count}}
    info["labels"] = BIN_LABELS if bins else LABELS
    info |= {"body": "float32", "template": get_template("arcface").to_json(112), "sha256": {}}
    info["embedding"] = {"size": width, **EMBEDDING, **embedding}
    path.with_suffix(".json").write_text(json.dumps(info))
    return vectors
