"""The bytes of MXNet RecordIO: how a payload is framed and what an image record's header holds.

A part is ``<magic u32> <flag and length u32> <payload> <zeros up to 4 bytes>``, little-endian. The upper 3 bits of the
second word say which part of a record it is, the lower 29 how long its payload is. A payload with the magic in it
(at a multiple of 4 bytes) is cut there into parts and the magic left out, so that an aligned magic always starts a
part and a reader can find its way again after damage. Source: dmlc-core, ``src/recordio.cc``; ``mxnet.recordio``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from agegender.errors import RecordError

MAGIC = 0xCED7230A
MAGIC_BYTES = struct.pack("<I", MAGIC)
# magic, flag << 29 | length
PART_HEAD = struct.Struct("<II")
# flag (number of labels in the array, 0 = the scalar), scalar label, id, id2
IMAGE_HEADER = struct.Struct("<IfQQ")
# both in one, for a record of one part
_IMAGE_HEAD = struct.Struct("<IIIfQQ")
LENGTH_BITS = 29
LENGTH_MASK = (1 << LENGTH_BITS) - 1
MAX_PAYLOAD = LENGTH_MASK
# What is appended to a payload of that length modulo 4.
_PADDING = (b"", bytes(3), bytes(2), bytes(1))
# The part flags: a whole record, or the first, a middle and the last of several parts.
WHOLE, FIRST, MIDDLE, LAST = range(4)

Payload = bytes | bytearray | memoryview


@dataclass(frozen=True, eq=False)
class Header:
    """The header of an image record: labels (1-d float32, at least one value), ``id`` and ``id2`` (unsigned 64 bit)."""

    label: NDArray[np.float32]
    id: int
    id2: int = 0


def pack(header: Header, body: Payload) -> bytes:
    """Return the payload of an image record, the same bytes as ``mxnet.recordio.pack``.

    One label is stored as MXNet's scalar (flag 0), several as its array (flag = their number).
    Raises RecordError when there is no label or the ids do not fit 64 bits.
    """
    label = np.atleast_1d(np.asarray(header.label, dtype="<f4"))
    if label.ndim != 1 or not label.size:
        raise RecordError(f"record {header.id}: the labels have shape {label.shape}, not (n,) with n at least 1")
    try:
        if label.size == 1:
            return IMAGE_HEADER.pack(0, label[0], header.id, header.id2) + bytes(body)
        return IMAGE_HEADER.pack(label.size, 0.0, header.id, header.id2) + bytes(label.tobytes()) + bytes(body)
    except struct.error:
        raise RecordError(f"record ids ({header.id}, {header.id2}) are not whole numbers within 0..2^64-1") from None


def unpack(payload: Payload) -> tuple[Header, memoryview]:
    """Split the payload of an image record into its header and its body (a view, no copy).

    Raises RecordError when the payload is shorter than what its header announces.
    """
    view = memoryview(payload)
    flag, scalar, id_, id2 = _read_header(view)
    start = IMAGE_HEADER.size + 4 * flag
    if flag:
        label = np.frombuffer(view, "<f4", count=flag, offset=IMAGE_HEADER.size).astype(np.float32)
    else:
        label = np.array([scalar], np.float32)
    return Header(label, id_, id2), view[start:]


def label_of(payload: Payload, width: int) -> NDArray[np.float32]:
    """Return the first ``width`` labels of an image record, float32; those that it does not have are -1 (unknown)."""
    flag, scalar, _, _ = _read_header(memoryview(payload))
    label = np.full(width, -1.0, np.float32)
    if flag:
        count = min(flag, width)
        label[:count] = np.frombuffer(payload, "<f4", count=count, offset=IMAGE_HEADER.size)
    elif width:
        label[0] = scalar
    return label


def parse_labels(payloads: Iterable[Payload], *, width: int = 2) -> NDArray[np.float32]:
    """Return the labels of several payloads, (n, width) float32, as ``label_of`` reads each."""
    rows = [label_of(payload, width) for payload in payloads]
    return np.stack(rows) if rows else np.empty((0, width), np.float32)


def frame(payload: Payload) -> bytes:
    """Return the bytes of one record in the file: its parts with heads and padding.

    Raises RecordError when the payload has 2^29 bytes or more.
    """
    body = payload if isinstance(payload, bytes) else bytes(payload)
    size = len(body)
    if size > MAX_PAYLOAD:
        raise RecordError(f"a record of {size} bytes is too long for RecordIO (at most {MAX_PAYLOAD})")
    padding = bytes(-size % 4)
    cuts = list(_aligned_magics(body))
    if not cuts:
        return b"".join((PART_HEAD.pack(MAGIC, size), body, padding))
    pieces: list[bytes] = []
    begin = 0
    for cut in cuts:
        flag = FIRST if begin == 0 else MIDDLE
        pieces += [PART_HEAD.pack(MAGIC, flag << LENGTH_BITS | cut - begin), body[begin:cut]]
        begin = cut + 4
    pieces += [PART_HEAD.pack(MAGIC, LAST << LENGTH_BITS | size - begin), body[begin:], padding]
    return b"".join(pieces)


def frame_images(faces: Sequence[tuple[bytes, int, bytes]]) -> tuple[bytes, list[int]]:
    """Return the bytes of the image records ``faces`` in the file, one after the other, and the size of each.

    A face is (labels, id, body), the labels two or more, as the bytes of a float32 array: what is returned is
    ``frame(pack(Header(labels, id), body))`` of each, joined. The quick way for packing: checks of the arguments are
    left out, and the magic, which hardly any body holds, is looked for in all of them at once.
    """
    pieces: list[bytes] = []
    sizes: list[int] = []
    for labels, id_, body in faces:
        count = len(labels)
        size = IMAGE_HEADER.size + count + len(body)
        padding = _PADDING[size & 3]
        pieces += (_IMAGE_HEAD.pack(MAGIC, size, count >> 2, 0.0, id_, 0), labels, body, padding)
        sizes.append(PART_HEAD.size + size + len(padding))
    joined = b"".join(pieces)
    magics = np.count_nonzero(np.frombuffer(joined, "<u4") == MAGIC)
    if magics == len(faces) and max(sizes, default=0) <= MAX_PAYLOAD:
        return joined, sizes
    framed = [frame(IMAGE_HEADER.pack(len(labels) >> 2, 0.0, id_, 0) + labels + body) for labels, id_, body in faces]
    return b"".join(framed), [len(one) for one in framed]


def padded(length: int) -> int:
    """Return ``length`` rounded up to a multiple of 4."""
    return (length + 3) & ~3


def _aligned_magics(body: bytes) -> Iterator[int]:
    # Looking from the end takes half the time, and a record hardly ever has one.
    position = body.find(MAGIC_BYTES) if body.rfind(MAGIC_BYTES) >= 0 else -1
    while position >= 0:
        if position % 4 == 0:
            yield position
        position = body.find(MAGIC_BYTES, position + 1)


def _read_header(view: memoryview) -> tuple[int, float, int, int]:
    if len(view) < IMAGE_HEADER.size:
        raise RecordError(f"a record of {len(view)} bytes is shorter than its {IMAGE_HEADER.size}-byte image header")
    flag, scalar, id_, id2 = IMAGE_HEADER.unpack_from(view)
    if flag * 4 > len(view) - IMAGE_HEADER.size:
        raise RecordError(f"a record of {len(view)} bytes announces {flag} labels, more than fit into it")
    return flag, scalar, id_, id2
