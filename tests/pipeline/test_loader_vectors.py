"""Records that hold embeddings: they reach the batch unchanged, in the loader's order; what is bad is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from agegender.errors import DataError, RecordError
from agegender.npy import pack_vector
from agegender.pipeline import Loader, LoaderConfig, read_set_info
from agegender.recordio import Header, RecordWriter, open_records, pack
from tests.vector_sets import WIDTH, made_vectors, write_vectors

SKIP = LoaderConfig(rand_mirror=False, bad_records="skip")


def test_every_embedding_comes_as_it_is(tmp_path: Path) -> None:
    vectors = write_vectors(tmp_path / "train.rec", 150)
    seen = np.zeros(150, int)
    with open_records(tmp_path / "train.rec") as records:
        labels = records.labels(2)
        with Loader(records, batch_size=64, size=(WIDTH,), shuffle=True, seed=3, last="partial") as loader:
            for batch in loader.epoch(0):
                assert batch.data.shape == (64, 1, 1, WIDTH)
                assert batch.data.dtype == np.float32
                rows = batch.positions[: batch.valid]
                np.testing.assert_array_equal(batch.data[: batch.valid, 0, 0], vectors[rows])
                np.testing.assert_array_equal(batch.labels[: batch.valid], labels[rows])
                assert not batch.data[batch.valid :].any()
                seen[rows] += 1
    assert (seen == 1).all()


def broken(tmp_path: Path) -> Path:
    """Write five records; that with key 2 holds a picture, that with key 3 a shorter embedding."""
    path = tmp_path / "train.rec"
    vectors, labels = made_vectors(5)
    bodies = [pack_vector(vector) for vector in vectors]
    bodies[2] = simplejpeg.encode_jpeg(np.zeros((8, 8, 3), np.uint8))
    bodies[3] = pack_vector(vectors[3, :-1])
    with RecordWriter(path) as writer:
        for key, body in enumerate(bodies):
            writer.write(key, pack(Header(labels[key], key), body))
    return path


def test_a_picture_among_them_is_named(tmp_path: Path) -> None:
    with open_records(broken(tmp_path)) as records, Loader(records, batch_size=5, size=(WIDTH,)) as loader:
        line = "train.rec: record 2: no embedding: the body starts with ff d8 ff e0; it is no .npy file"
        with pytest.raises(RecordError, match=line):
            next(loader.epoch(0))


def test_bad_ones_are_passed_over(tmp_path: Path) -> None:
    records = open_records(broken(tmp_path))
    with records, Loader(records, batch_size=5, size=(WIDTH,), config=SKIP) as loader:
        batch = next(loader.epoch(0))
        assert batch.positions.tolist() == [0, 1, 4, 4, 4]
        np.testing.assert_array_equal(batch.data[3, 0, 0], made_vectors(5)[0][4])
        assert [key for key, _, _ in loader.skipped] == [2, 3]
        assert loader.skipped[1][2] == f"it holds an array of shape (11,), not one embedding of {WIDTH} numbers"


def test_a_reader_of_pictures_names_an_embedding(tmp_path: Path) -> None:
    write_vectors(tmp_path / "train.rec", 4)
    records = open_records(tmp_path / "train.rec")
    line = "record 0: the body is an embedding, no image"
    with records, Loader(records, batch_size=4, size=(8, 8)) as loader, pytest.raises(RecordError, match=line):
        next(loader.epoch(0))


def test_what_the_json_says(tmp_path: Path) -> None:
    write_vectors(tmp_path / "train.rec", 4, normalised=True)
    info = read_set_info(tmp_path / "train.rec")
    assert info is not None
    assert (info.body, info.width, info.embedding["normalised"]) == ("float32", WIDTH, True)
    with pytest.raises(DataError, match=r"train.json: the records hold embeddings \(float32\), not pictures"):
        info.pictures()
    document = json.loads((tmp_path / "train.json").read_text())
    document["embedding"]["size"] = "12"
    (tmp_path / "train.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"embedding.size is '12', not a whole number of 1 or more"):
        read_set_info(tmp_path / "train.rec")
    del document["embedding"]
    (tmp_path / "train.json").write_text(json.dumps(document))
    with pytest.raises(DataError, match=r"train.json: 'embedding' is missing"):
        read_set_info(tmp_path / "train.rec")
