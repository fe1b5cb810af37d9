"""Both ways between our files and MXNet's own reader, writer and iterator."""

from __future__ import annotations

import random
import struct
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg

from agegender.recordio import Header, RecordFile, RecordWriter, open_records, pack, rebuild_index, unpack

MAGIC = struct.pack("<I", 0xCED7230A)


def _payloads(mx: Any) -> list[bytes]:
    """Payloads of every kind: image records with scalar and array labels, raw ones, with magics at all places."""
    rng = random.Random(5)
    bodies = [b"", b"a", MAGIC, MAGIC * 2, b"abc" + MAGIC, b"abcd" + MAGIC + b"xy", MAGIC + b"abcd" + MAGIC]
    choices = [MAGIC, b"abcd", b"ab", b"x"]
    bodies += [b"".join(rng.choice(choices) for _ in range(rng.randrange(1, 20))) for _ in range(120)]
    labels = ([1.0, 30.0], 31.0, [0.0, 30.0, 25.0, 35.0, 2.5])
    payloads = [
        mx.recordio.pack(mx.recordio.IRHeader(0, labels[number % 3], number, 0), body)
        for number, body in enumerate(bodies)
    ]
    return payloads + [body for body in bodies if body]


def _write_mxnet(mx: Any, path: Path, payloads: list[bytes]) -> None:
    writer = mx.recordio.MXIndexedRecordIO(str(path.with_suffix(".idx")), str(path), "w")
    for key, payload in enumerate(payloads):
        writer.write_idx(key, payload)
    writer.close()


def test_writers_write_the_same_bytes(mx: Any, tmp_path: Path) -> None:
    payloads = _payloads(mx)
    _write_mxnet(mx, tmp_path / "theirs.rec", payloads)
    with RecordWriter(tmp_path / "ours.rec") as writer:
        for key, payload in enumerate(payloads):
            writer.write(key, payload)
    for suffix in ("rec", "idx"):
        ours, theirs = ((tmp_path / f"{name}.{suffix}").read_bytes() for name in ("ours", "theirs"))
        assert ours == theirs


def test_we_read_what_mxnet_wrote(mx: Any, tmp_path: Path) -> None:
    payloads = _payloads(mx)
    _write_mxnet(mx, tmp_path / "train.rec", payloads)
    with RecordFile(tmp_path / "train.rec") as records:
        assert records.keys.tolist() == list(range(len(payloads)))
        assert [bytes(payload) for payload in records] == payloads


def test_mxnet_reads_what_we_wrote(mx: Any, tmp_path: Path) -> None:
    payloads = _payloads(mx)
    with RecordWriter(tmp_path / "train.rec") as writer:
        for key, payload in enumerate(payloads):
            writer.write(3 * key, payload)
    reader = mx.recordio.MXIndexedRecordIO(str(tmp_path / "train.idx"), str(tmp_path / "train.rec"), "r")
    assert [reader.read_idx(3 * key) for key in reversed(range(len(payloads)))] == payloads[::-1]
    reader.close()
    sequential = mx.recordio.MXRecordIO(str(tmp_path / "train.rec"), "r")
    assert [sequential.read() for _ in payloads] == payloads
    sequential.close()


@pytest.mark.parametrize("label", [31.0, [1.0, 31.0], [0.0, 30.0, 25.0, 35.0, 2.5]])
def test_headers_have_the_same_bytes(mx: Any, label: float | list[float]) -> None:
    theirs = mx.recordio.pack(mx.recordio.IRHeader(0, label, 2**40, 3), b"body")
    assert pack(Header(np.atleast_1d(np.float32(label)), 2**40, 3), b"body") == theirs
    header, body = mx.recordio.unpack(theirs)
    ours, our_body = unpack(theirs)
    assert ours.label.tolist() == np.atleast_1d(header.label).tolist()
    assert (ours.id, ours.id2, bytes(our_body)) == (header.id, header.id2, body)


def test_what_im2rec_writes(mx: Any, tmp_path: Path) -> None:
    """im2rec packs images with pack_img; the key is the list's index, in the list's shuffled order."""
    image = np.full((20, 30, 3), (10, 120, 240), np.uint8)
    writer = mx.recordio.MXIndexedRecordIO(str(tmp_path / "train.idx"), str(tmp_path / "train.rec"), "w")
    for key, format_ in ((5, ".jpg"), (2, ".png"), (9, ".jpg")):
        header = mx.recordio.IRHeader(0, [key % 2, 20.0 + key], key, 0)
        writer.write_idx(
            key, mx.recordio.pack_img(header, image, quality=95 if format_ == ".jpg" else 3, img_fmt=format_)
        )
    writer.close()
    with open_records(tmp_path / "train.rec") as records:
        assert records.keys.tolist() == [5, 2, 9]
        assert records.labels().tolist() == [[1, 25], [0, 22], [1, 29]]
        for position in range(3):
            decoded = cv2.imdecode(np.frombuffer(unpack(records.read(position))[1], np.uint8), cv2.IMREAD_COLOR)
            assert np.abs(decoded.astype(int) - image).max() <= 3
    before = (tmp_path / "train.idx").read_bytes()
    (tmp_path / "train.idx").unlink()
    assert rebuild_index(tmp_path / "train.rec") == 3
    assert (tmp_path / "train.idx").read_bytes() == before


def test_image_record_iter_reads_our_set(mx: Any, tmp_path: Path) -> None:
    sides = {key: (key + 1) * 20 for key in range(8)}
    with RecordWriter(tmp_path / "train.rec") as writer:
        for key, level in sides.items():
            image = np.full((32, 32, 3), (level, 100, 255 - level), np.uint8)
            jpeg = simplejpeg.encode_jpeg(image, quality=95)
            writer.write(key, pack(Header(np.array([key % 2, 20 + key], np.float32), key), jpeg))
    iterator = mx.io.ImageRecordIter(
        path_imgrec=str(tmp_path / "train.rec"),
        path_imgidx=str(tmp_path / "train.idx"),
        data_shape=(3, 32, 32),
        batch_size=4,
        label_width=2,
        preprocess_threads=1,
        prefetch_buffer=1,
        verbose=False,
    )
    # The iterator reuses a batch's memory: copy before the next.
    batches = [(batch.data[0].asnumpy(), batch.label[0].asnumpy()) for batch in iterator]
    data, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    assert labels.tolist() == [[key % 2, 20 + key] for key in sides]
    for key, level in sides.items():
        np.testing.assert_allclose(data[key].mean((1, 2)), (level, 100, 255 - level), atol=3)
