"""The .npy format: what is read, what is refused, and that embeddings are what np.save writes."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agegender.errors import DataError
from agegender.npy import as_vectors, pack_vector, read_npy, read_vector, vector_header


def saved(array: Any, **how: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **how)
    return stream.getvalue()


@given(hnp.arrays(np.float32, st.integers(1, 900), elements=st.floats(-1e6, 1e6, width=32)))
def test_a_packed_embedding_is_what_numpy_saves(vector: Any) -> None:
    body = pack_vector(vector)
    assert body == saved(vector)
    assert body[:2] != b"\xff\xd8"
    np.testing.assert_array_equal(read_vector(memoryview(body), len(vector)), vector)
    np.testing.assert_array_equal(read_vector(body), vector)


def test_the_numbers_begin_at_a_multiple_of_64() -> None:
    assert {len(vector_header(width)) for width in (1, 64, 512, 10**9)} == {128}


def test_other_types_of_numbers_are_read_as_float32() -> None:
    for kind in ("<f2", ">f8", "<i4"):
        vector = read_vector(saved(np.arange(5).astype(kind)), 5)
        assert vector.dtype == np.float32
        assert vector.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (b"\xff\xd8\xff\xe0", "it is no .npy file"),
        (b"", "it is no .npy file"),
        (saved(np.zeros(4, np.float32)), r"it holds an array of shape \(4,\), not one embedding of 5 numbers"),
        (saved(np.zeros((1, 5), np.float32)), r"it holds an array of shape \(1, 5\), not one embedding of 5 numbers"),
        (saved(np.array([1, 2, np.nan, 4, 5], np.float32)), "the embedding has a number that is not finite"),
        (saved(np.full(5, 1e300)), "the embedding has a number that is not finite"),
        (saved(np.zeros(5, np.float32))[:-1], "the .npy file should hold 5 numbers and has another length"),
        (saved(np.array([{}] * 5), allow_pickle=True), "the .npy file holds no plain numbers"),
        (saved(np.zeros((1, 1, 5))), "the .npy file holds no array of one or two dimensions"),
    ],
)
def test_what_is_no_embedding(body: bytes, line: str) -> None:
    with pytest.raises(DataError, match=line):
        read_vector(body, 5)


@given(st.binary(max_size=60), st.integers(0, 160))
def test_garbage_is_an_error_of_one_line(garbage: bytes, place: int) -> None:
    good = saved(np.zeros((2, 5), np.float32))
    for data in (garbage, good[:place] + garbage + good[place + len(garbage) :]):
        try:
            assert read_npy(data).ndim <= 2
        except DataError as error:
            assert "\n" not in str(error)


def test_rows() -> None:
    assert as_vectors(np.zeros(3), 3).shape == (1, 3)
    with pytest.raises(DataError, match=r"the embeddings have shape \[2, 4\], not \[n, 3\]"):
        as_vectors(np.zeros((2, 4)), 3)
    with pytest.raises(DataError, match="embedding 1 holds a number that is not finite"):
        as_vectors(np.array([[0, 1], [0, np.inf]]), 2)
