"""The .params format against MXNet itself, its older versions, and damaged bytes."""

from __future__ import annotations

import contextlib
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agegender.errors import CheckpointError
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.graph.params import V1_MAGIC, V2_MAGIC, V3_MAGIC, load_params, save_params

TYPES = ["float32", "float64", "float16", "uint8", "int32", "int8", "int64", "bool"]


def examples() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(3)
    arrays = {f"arg:{kind}": (rng.uniform(-90, 90, (2, 3, 4)).astype(kind)) for kind in TYPES}
    arrays["aux:empty"] = np.zeros((0,), np.float32)
    arrays["aux:flat"] = np.zeros((4, 0, 2), np.float16)
    arrays["aux:named 性别"] = np.arange(5, dtype=np.float32)
    arrays["arg:special"] = np.array([np.nan, np.inf, -0.0, 1e-45], np.float32)
    return arrays


def as_list(*bodies: bytes, names: list[bytes] | None = None) -> bytes:
    names = [b"a%d" % number for number in range(len(bodies))] if names is None else names
    encoded = b"".join(struct.pack("<Q", len(name)) + name for name in names)
    return struct.pack("<QQQ", 0x112, 0, len(bodies)) + b"".join(bodies) + struct.pack("<Q", len(names)) + encoded


def tail(values: np.ndarray, *, flag: int = 0, device: tuple[int, int] = (1, 0)) -> bytes:
    return struct.pack("<iii", *device, flag) + values.tobytes()


def same(left: np.ndarray, right: np.ndarray) -> bool:
    return left.dtype == right.dtype and left.shape == right.shape and left.tobytes() == right.tobytes()


def test_written_bytes_are_those_of_mxnet(tmp_path: Path) -> None:
    mx = load_mxnet()
    arrays = examples()
    mx.nd.save(str(tmp_path / "theirs"), {name: mx.nd.array(a, dtype=a.dtype) for name, a in arrays.items()})
    save_params(tmp_path / "ours", arrays)
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_mxnet_reads_ours_and_we_read_theirs(tmp_path: Path) -> None:
    mx = load_mxnet()
    arrays = examples()
    save_params(tmp_path / "ours", arrays)
    theirs = mx.nd.load(str(tmp_path / "ours"))
    assert set(theirs) == set(arrays)
    for name, array in arrays.items():
        if array.size:
            assert same(theirs[name].asnumpy(), array), name
        assert theirs[name].shape == array.shape
    mx.nd.save(str(tmp_path / "theirs"), theirs)
    ours = load_params(tmp_path / "theirs")
    assert all(same(ours[name], array) for name, array in arrays.items())
    assert all(array.flags.writeable for array in ours.values())


def test_numpy_shapes_are_read(tmp_path: Path) -> None:
    """Version 3, in which () is a scalar."""
    mx = load_mxnet()
    with mx.util.np_shape(True):
        scalar = mx.nd.array(np.float32(2.5).reshape(()))
        mx.nd.save(str(tmp_path / "v3"), {"scalar": scalar, "none": mx.nd.zeros((0, 3)), "row": mx.nd.ones((1, 3))})
    assert struct.pack("<I", V3_MAGIC) in (tmp_path / "v3").read_bytes()
    arrays = load_params(tmp_path / "v3")
    assert arrays["scalar"].shape == () and arrays["scalar"] == 2.5
    assert arrays["none"].shape == (0, 3)
    assert same(arrays["row"], np.ones((1, 3), np.float32))


def test_older_versions_are_read_as_mxnet_reads_them(tmp_path: Path) -> None:
    mx = load_mxnet()
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    legacy = struct.pack("<III", 2, 2, 3) + tail(values)
    v1 = struct.pack("<Iiqq", V1_MAGIC, 2, 2, 3) + tail(values)
    v2 = struct.pack("<Iiiqq", V2_MAGIC, 0, 2, 2, 3) + tail(values)
    (tmp_path / "old").write_bytes(as_list(legacy, v1, v2))
    theirs = mx.nd.load(str(tmp_path / "old"))
    ours = load_params(tmp_path / "old")
    assert list(ours) == ["a0", "a1", "a2"]
    for name, array in ours.items():
        assert same(array, values) and same(theirs[name].asnumpy(), values)


def test_arrays_of_gpus_are_read_anywhere(tmp_path: Path) -> None:
    values = np.ones(3, np.float16)
    (tmp_path / "gpu").write_bytes(
        as_list(struct.pack("<Iiiq", V2_MAGIC, 0, 1, 3) + tail(values, flag=2, device=(2, 5)))
    )
    assert same(load_params(tmp_path / "gpu")["a0"], values)


def test_scalars_and_foreign_layouts_are_written_plainly(tmp_path: Path) -> None:
    mx = load_mxnet()
    arrays = {
        "scalar": np.float32(7.0).reshape(()),
        "big_endian": np.arange(4, dtype=">i4"),
        "transposed": np.arange(6, dtype=np.float64).reshape(2, 3).T,
        "every_second": np.arange(8, dtype=np.uint8)[::2],
    }
    save_params(tmp_path / "a", arrays)
    ours, theirs = load_params(tmp_path / "a"), mx.nd.load(str(tmp_path / "a"))
    assert ours["scalar"].shape == (1,)
    for name, array in arrays.items():
        assert np.array_equal(ours[name], np.atleast_1d(array))
        assert np.array_equal(theirs[name].asnumpy(), np.atleast_1d(array))


def test_an_empty_list_is_one(tmp_path: Path) -> None:
    save_params(tmp_path / "a", {})
    assert load_params(tmp_path / "a") == {}


def test_a_type_that_the_format_lacks_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"^phase: a \.params file has no type complex64 \(float32, "):
        save_params(tmp_path / "a", {"phase": np.zeros(2, np.complex64)})
    assert list(tmp_path.iterdir()) == []


HEAD = struct.pack("<Ii", V2_MAGIC, 0)
DAMAGED = {
    "nothing": (b"", "0 bytes, too few"),
    "text": (b"{'arg': 'this is no list of arrays'}", "not a list of MXNet arrays"),
    "count": (struct.pack("<QQQ", 0x112, 0, 2**63), "9223372036854775808 arrays can't fit into 24 bytes"),
    "rank": (as_list(HEAD + struct.pack("<i", 999)), "array 0 has 999 dimensions"),
    "negative": (as_list(HEAD + struct.pack("<iqq", 2, 3, -1) + tail(np.zeros(3))), r"array 0 has the shape \(3, -1\)"),
    "huge": (as_list(HEAD + struct.pack("<iqq", 2, 2**40, 2**40) + tail(np.zeros(3))), "are left: cut off?"),
    "no bytes": (as_list(HEAD + struct.pack("<iqq", 2, 0, 2**62) + tail(np.zeros(0))), r"a0 has shape \(0, "),
    "flag": (as_list(HEAD + struct.pack("<iq", 1, 1) + tail(np.zeros(1), flag=12)), r"type flag 12 \(0\.\.7"),
    "sparse": (as_list(struct.pack("<Ii", V2_MAGIC, 1) + bytes(64)), r"array 0 is not dense \(row_sparse\)"),
    "no shape": (as_list(HEAD + struct.pack("<i", 0)), "array 0 is an empty place"),
    "no names": (as_list(HEAD + struct.pack("<iq", 1, 0) + tail(np.zeros(0)), names=[]), "1 arrays and 0 names"),
    "two alike": (
        as_list(*[HEAD + struct.pack("<iq", 1, 0) + tail(np.zeros(0))] * 2, names=[b"w", b"w"]),
        "'w' .*twice",
    ),
    "no text": (as_list(HEAD + struct.pack("<iq", 1, 0) + tail(np.zeros(0)), names=[b"\xff"]), "not UTF-8"),
}


@pytest.mark.quick
@pytest.mark.parametrize(("content", "expected"), DAMAGED.values(), ids=DAMAGED)
def test_damage_is_told(tmp_path: Path, content: bytes, expected: str) -> None:
    path = tmp_path / "model-0003.params"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=expected) as caught:
        load_params(path)
    assert str(caught.value).startswith(f"{path} is damaged or no .params file: ")
    assert "\n" not in str(caught.value)


@pytest.mark.quick
def test_a_missing_file_and_a_folder_are_told(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.params does not exist$"):
        load_params(tmp_path / "nowhere.params")
    with pytest.raises(CheckpointError, match="is a folder"):
        load_params(tmp_path)


@pytest.mark.quick
def test_every_truncation_is_seen(tmp_path: Path) -> None:
    save_params(tmp_path / "a", {"arg:w": np.arange(3, dtype=np.float32), "aux:m": np.zeros((2, 0))})
    whole = (tmp_path / "a").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "a").write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            load_params(tmp_path / "a")


@pytest.mark.quick
def test_bytes_behind_the_list_are_ignored_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    save_params(tmp_path / "a", {"w": np.ones(2)})
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes() + b"12345")
    assert np.array_equal(load_params(tmp_path / "a")["w"], np.ones(2))
    assert "5 bytes after the list are ignored" in caplog.text


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, 10_000), st.binary(min_size=1, max_size=9)), max_size=4), st.integers(0, 400))
def test_damaged_bytes_never_crash(tmp_path: Path, patches: list[tuple[int, bytes]], cut: int) -> None:
    arrays = {"arg:weight": np.ones((3, 4), np.float32), "aux:mean": np.zeros(5, np.float16), "b": np.ones(2, np.int8)}
    save_params(tmp_path / "a", arrays)
    content = bytearray((tmp_path / "a").read_bytes())
    for offset, patch in patches:
        offset %= len(content)
        content[offset : offset + len(patch)] = patch
    (tmp_path / "a").write_bytes(content[: len(content) - cut % len(content)])
    tracemalloc.start()
    try:
        loaded = load_params(tmp_path / "a")
    except CheckpointError:
        loaded = {}
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert all(isinstance(array, np.ndarray) for array in loaded.values())
    assert peak < 1_000_000


@settings(deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200))
def test_random_bytes_never_crash(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a").write_bytes(struct.pack("<QQQ", 0x112, 0, 1) + content)
    with contextlib.suppress(CheckpointError):
        load_params(tmp_path / "a")
