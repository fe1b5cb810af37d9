"""Bad records, threads that fail, epochs that are left early."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simplejpeg

from agegender.errors import RecordError, UsageError
from agegender.pipeline import Loader, LoaderConfig
from agegender.pipeline.faces import FaceReader
from agegender.recordio import Header, RecordSet, open_records, pack
from agegender.recordio.reader import spot_positions

MakeSet = Callable[..., RecordSet]
BODY = simplejpeg.encode_jpeg(np.full((48, 48, 3), 90, np.uint8))
NOISE = simplejpeg.encode_jpeg(np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8))
HUGE = BODY.replace(b"\x00\x30\x00\x30\x03", b"\xff\xdc\xff\xdc\x03")
SKIP = LoaderConfig(rand_mirror=False, bad_records="skip")
WAY_OUT = " (--bad_records skip passes over such records)"


def record(body: bytes, label: tuple[float, ...] = (1, 30)) -> bytes:
    return pack(Header(np.array(label, np.float32), 3), body)


BAD = [
    (record(b""), "empty body"),
    (record(b"hello there"), "body of 11 bytes is no image (it starts with 68 65 6c 6c)"),
    (record(b"\x89PNG\r\n\x1a\n"), "body of 8 bytes is no image (it starts with 89 50 4e 47)"),
    (record(NOISE[: len(NOISE) // 2]), "damaged JPEG (Premature end of JPEG file)"),
    (record(BODY[:20]), "damaged JPEG ("),
    (record(HUGE), "image of 65500x65500 pixels is too large for a record (at most 50,000,000)"),
    (record(BODY, (2, 30)), "gender 2 is none of 0 = female, 1 = male, -1 = unknown"),
    (record(BODY, (34, 1)), "(is it age first? --label_order age,gender)"),
    (record(BODY, (float("nan"), 30)), "gender nan is none of"),
    (record(BODY, (1, 101)), "age 101 is not within 0..100 (-1 = unknown)"),
    (record(BODY, (1, -2)), "age -2 is not within 0..100 (-1 = unknown)"),
    (record(BODY, (1, float("nan"))), "age nan is not within 0..100 (-1 = unknown)"),
    (record(BODY, (30,)), "it has 1 label instead of gender and age"),
    (record(BODY, (1, 30, 5)), "it has 3 labels instead of gender and age"),
    (b"short", "5 bytes are too few for a record header"),
    (record(b"")[:-4], "28 bytes end within its labels"),
]


@pytest.mark.parametrize(("bad", "reason"), BAD, ids=[reason[:20] for _, reason in BAD])
def test_a_bad_record_is_named_or_replaced(make_set: MakeSet, bad: bytes, reason: str) -> None:
    records = make_set(6, instead={3: bad})
    with Loader(records, batch_size=4, size=(48, 48)) as loader, pytest.raises(RecordError) as caught:
        list(loader.epoch(0))
    assert str(caught.value).startswith(f"{records.path}: record 3: ")
    assert reason in str(caught.value)
    assert str(caught.value).endswith(WAY_OUT)
    assert "\n" not in str(caught.value)
    with Loader(records, batch_size=6, size=(48, 48), config=SKIP) as loader:
        batch = next(loader.epoch(0))
        assert batch.keys.tolist() == [0, 1, 2, 4, 4, 5]
        assert batch.labels[3].tolist() == [0, 4]
        np.testing.assert_array_equal(batch.data[3], batch.data[4])
        assert [(key, path) for key, path, _ in loader.skipped] == [(3, str(records.path))]
        assert reason in loader.skipped[0][2]


def test_unknown_labels_are_fine(make_set: MakeSet) -> None:
    records = make_set(2, instead={0: record(BODY, (-1, -1)), 1: record(BODY, (0, 100))})
    with Loader(records, batch_size=2, size=(48, 48)) as loader:
        assert next(loader.epoch(0)).labels.tolist() == [[-1, -1], [0, 100]]


def test_damaged_framing_is_named_once(make_set: MakeSet) -> None:
    records = make_set(200)
    damaged = records.path.read_bytes()
    # Opening looks at some records; this is about one it did not look at.
    key = next(key for key in range(100, 200) if key not in spot_positions(200))
    offset = int(records.files[0].offsets[key])
    records.close()
    records.path.write_bytes(damaged[:offset] + b"\0\0\0\0" + damaged[offset + 4 :])
    records = open_records(records.path)
    with Loader(records, batch_size=50, size=(48, 48)) as loader, pytest.raises(RecordError) as caught:
        list(loader.epoch(0))
    assert str(caught.value).count(str(records.path)) == 1
    assert f"key {key} " in str(caught.value)
    with Loader(records, batch_size=50, size=(48, 48), config=SKIP) as loader:
        assert key not in [int(other) for batch in loader.epoch(0) for other in batch.keys]
        assert [skipped for skipped, _, _ in loader.skipped] == [key]


def test_replacements_do_not_depend_on_threads(make_set: MakeSet) -> None:
    records = make_set(120, instead={key: record(b"") for key in (3, 4, 5, 77, 119)})
    runs = []
    for threads in (1, 3):
        config = LoaderConfig(bad_records="skip", loader_threads=threads)
        with Loader(records, batch_size=50, size=(24, 24), config=config, shuffle=True, seed=2) as loader:
            runs.append([(batch.keys.tolist(), batch.data.copy()) for batch in loader.epoch(0)])
            assert [key for key, _, _ in loader.skipped] == [3, 4, 5, 77, 119]
    for (keys, data), (other_keys, other_data) in zip(*runs):
        assert keys == other_keys
        np.testing.assert_array_equal(data, other_data)


def test_a_set_without_one_good_record(make_set: MakeSet) -> None:
    records = make_set(3, instead={key: record(b"") for key in range(3)})
    with Loader(records, batch_size=2, size=(48, 48), config=SKIP) as loader, pytest.raises(RecordError) as caught:
        list(loader.epoch(0))
    assert str(caught.value) == f"none of the 3 records can be used; the first: {records.path}: record 0: empty body"


def test_what_goes_wrong_in_a_thread_reaches_the_consumer(make_set: MakeSet, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(*_: object, **__: object) -> None:
        raise MemoryError("no memory left")

    monkeypatch.setattr(FaceReader, "fill", out_of_memory)
    with Loader(make_set(3), batch_size=2, size=(48, 48)) as loader, pytest.raises(MemoryError, match="no memory left"):
        next(loader.epoch(0))


def test_an_epoch_left_early_spoils_nothing(make_set: MakeSet) -> None:
    with Loader(make_set(200), batch_size=10, size=(48, 48), shuffle=True) as loader:
        whole = [batch.data.copy() for batch in loader.epoch(0)]
        for _ in range(5):
            batches = loader.epoch(0)
            next(batches)
            batches.close()
        for expected, batch in zip(whole, loader.epoch(0), strict=True):
            np.testing.assert_array_equal(batch.data, expected)


def test_two_epochs_at_once_do_not_share_memory(make_set: MakeSet) -> None:
    with Loader(make_set(30), batch_size=10, size=(24, 24)) as loader:
        expected = [batch.data.copy() for batch in loader.epoch(0)]
        for want, one, other in zip(expected, loader.epoch(0), loader.epoch(0), strict=True):
            np.testing.assert_array_equal(one.data, want)
            np.testing.assert_array_equal(other.data, want)


def test_memory_is_used_again(make_set: MakeSet) -> None:
    with Loader(make_set(200), batch_size=64, size=(24, 24), config=LoaderConfig(loader_threads=1)) as loader:
        addresses = {batch.data.ctypes.data for epoch in range(3) for batch in loader.epoch(epoch)}
    assert len(addresses) <= 5


def test_close_ends_the_threads(make_set: MakeSet) -> None:
    loader = Loader(make_set(50), batch_size=5, size=(24, 24), config=LoaderConfig(loader_threads=3))
    batches = loader.epoch(0)
    next(batches)
    loader.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("loader")]
    batches.close()


@pytest.mark.skipif(not hasattr(os, "kill") or sys.platform == "win32", reason="Windows has no SIGINT for children")
def test_ctrl_c_ends_the_program_at_once(make_set: MakeSet, root: Path) -> None:
    path = make_set(64).path
    script = f"""
    import sys
    sys.path.insert(0, {str(root / "src")!r})
    from agegender.pipeline import Loader
    from agegender.recordio import open_records
    loader = Loader(open_records({str(path)!r}), batch_size=16, size=(112, 112), shuffle=True)
    print("ready", flush=True)
    while True:
        for batch in loader.epoch(0):
            pass
    """
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "ready\n"
    time.sleep(0.3)
    start = time.perf_counter()
    child.send_signal(signal.SIGINT)
    _, errors = child.communicate(timeout=20)
    assert time.perf_counter() - start < 5
    assert errors.rstrip().endswith("KeyboardInterrupt")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"jitter": 0.6}, "jitter 0.6 is not within 0..0.5"),
        ({"jpeg": -0.1}, "jpeg -0.1 is not within 0..1"),
        ({"cutoff": -1}, "cutoff -1 is not 0 or more"),
        ({"bad_records": "ignore"}, "bad_records 'ignore' is neither 'stop' nor 'skip'"),
    ],
)
def test_a_config_that_does_not_fit(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        LoaderConfig(**values)
    assert str(caught.value) == message
