"""Files of PyTorch weights: the same arrays whoever wrote them, and one line for what is damaged."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agegender.errors import CheckpointError, UsageError
from tools.state_dict import read_state_dict

ARRAYS = {
    "a.weight": np.arange(6, dtype=np.float32).reshape(2, 3) / 7,
    "a.bias": np.array([0.5, -2], np.float16),
    "index": np.arange(4, dtype=np.int64).reshape(2, 2),
    "scale": np.array(3.0, np.float64),
}


def safetensors(header: object, values: bytes = b"", *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + values


def write(path: Path) -> Path:
    """Write ``ARRAYS`` with the library that the file's kind comes from."""
    if path.suffix == ".safetensors":
        pytest.importorskip("safetensors").numpy.save_file(ARRAYS, path, metadata={"format": "pt"})
    elif path.suffix == ".npz":
        np.savez(path, **ARRAYS)
    else:
        torch = pytest.importorskip("torch")
        tensors = {name: torch.from_numpy(array.copy()) for name, array in ARRAYS.items()}
        torch.save({"model": tensors, "epoch": 3} if path.suffix == ".pth" else tensors, path)
    return path


@pytest.mark.parametrize("name", ["w.safetensors", "w.npz", "w.pth", "w.pt"])
def test_every_kind_of_file_holds_the_same(tmp_path: Path, name: str) -> None:
    pytest.importorskip("safetensors.numpy" if name.endswith("safetensors") else "numpy")
    found = read_state_dict(write(tmp_path / name))
    assert found.keys() == ARRAYS.keys()
    for key, array in ARRAYS.items():
        assert found[key].shape == array.shape
        np.testing.assert_array_equal(found[key], array)


def test_bfloat16_is_the_upper_half_of_float32(tmp_path: Path) -> None:
    values = np.array([1.0, -2.5, 0.0078125], np.float32)
    upper = (values.view(np.uint32) >> 16).astype("<u2").tobytes()
    path = tmp_path / "w.safetensors"
    path.write_bytes(safetensors({"x": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}}, upper))
    found = read_state_dict(path)["x"]
    assert found.dtype == np.float32
    assert found.tolist() == values.tolist()


F32 = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "its header is longer than the file"),
        (safetensors({}, length=10**15), "its header is longer than the file"),
        (safetensors(b"{no json"), "its header is no JSON"),
        (safetensors([1]), "its header is no JSON object"),
        (safetensors({"x": 3}), "x: no type, shape and place"),
        (safetensors({"x": {**F32, "data_offsets": [0]}}), "x: no type, shape and place"),
        (safetensors({"x": {**F32, "dtype": "F8"}}, bytes(8)), "x: the type 'F8' is not known (F64, F32"),
        (safetensors({"x": {**F32, "shape": [-2]}}, bytes(8)), "x: shape [-2] at 0 to 8 of 8 bytes"),
        (safetensors({"x": {**F32, "shape": "2"}}, bytes(8)), "x: shape 2 at 0 to 8 of 8 bytes"),
        (safetensors({"x": F32}, bytes(7)), "x: shape [2] at 0 to 8 of 7 bytes"),
        (safetensors({"x": {**F32, "shape": [3]}}, bytes(8)), "x: F32 of shape [3] does not have 8 bytes"),
    ],
)
def test_damage_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as caught:
        read_state_dict(path)
    assert str(caught.value).startswith(f"{path}")
    assert message in str(caught.value)


ENTRIES = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["F32", "BF16", "BOOL", "", "F33"]) | st.integers(),
        "shape": st.lists(st.integers(-1, 5), max_size=3) | st.none() | st.lists(st.text(max_size=2), max_size=1),
        "data_offsets": st.lists(st.integers(-1, 40) | st.booleans(), max_size=3) | st.none(),
    }
)


@given(header=st.dictionaries(st.text(max_size=3), ENTRIES, max_size=3), values=st.binary(max_size=40))
def test_whatever_a_header_says_it_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, header: dict[str, object], values: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "drawn.safetensors"
    path.write_bytes(safetensors(header, values))
    try:
        found = read_state_dict(path)
    except CheckpointError as error:
        assert str(error).startswith(f"{path}: ")
    else:
        assert {name: list(array.shape) for name, array in found.items()} == {
            name: entry["shape"]
            for name, entry in header.items()  # type: ignore[index]
        }


def test_nothing_is_unpickled(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save({"weight": Path("run me")}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match=r"w\.pth can't be read as tensors alone: Weights only load failed"):
        read_state_dict(tmp_path / "w.pth")
    np.savez(tmp_path / "w.npz", weight=np.array([object()]))
    with pytest.raises(CheckpointError, match=r"w\.npz can't be read: Object arrays cannot be loaded"):
        read_state_dict(tmp_path / "w.npz")


def test_what_is_no_state_dict_is_refused(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    torch.save([1, 2], tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"w\.pt holds something else than tensors by name"):
        read_state_dict(tmp_path / "w.pt")
    (tmp_path / "w.npz").write_bytes(b"PK nothing")
    with pytest.raises(CheckpointError, match=r"w\.npz can't be read"):
        read_state_dict(tmp_path / "w.npz")
    with pytest.raises(CheckpointError, match=r"gone\.npz does not exist"):
        read_state_dict(tmp_path / "gone.npz")
    with pytest.raises(UsageError, match=r"w\.h5: not a file of weights that can be read \(\.safetensors, \.npz"):
        read_state_dict(tmp_path / "w.h5")
