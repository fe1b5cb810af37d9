"""The launcher with two workers on this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from agegender.executor.mxnet_runtime import load_mxnet
from agegender.graph import load_checkpoint
from agegender.recordio import Header, RecordWriter, pack

# Arguments: network JSON, data folder, prefix, faces per worker.
CHILD = """
import logging, sys
from pathlib import Path
from agegender.engine import TrainConfig, train
from agegender.pipeline import LoaderConfig
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
config = TrainConfig(network="tiny", gpu_ids="cpu", data_dir=sys.argv[2], prefix=sys.argv[3], end_epoch=2,
                     data_shape=(3, 16, 16), head="dex", embedding=4, age_loss="dldl", batch_size=int(sys.argv[4]),
                     optimizer="sgd", lr=0.01, wd=1e-4, frequent=2)
result = train(config, LoaderConfig(jitter=0.1), network_json=Path(sys.argv[1]).read_text())
print("ended with", result.last)
"""


def launch(root: Path, *arguments: str, workers: int = 2) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(root / "src")}
    command = [sys.executable, str(root / "tools" / "launch.py"), "-n", str(workers), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """A linear network: nothing in it (BatchNorm, dropout) depends on who has which faces."""
    mx = load_mxnet()
    fc1 = mx.sym.FullyConnected((mx.sym.Variable("data") - 127.5) * 0.0078125, num_hidden=4, name="fc1")
    gender = mx.sym.softmax(mx.sym.FullyConnected(fc1, num_hidden=2, name="gender_logits"), name="gender_softmax")
    ages = mx.sym.softmax(mx.sym.FullyConnected(fc1, num_hidden=101, name="age_logits"), name="age_softmax")
    years = mx.sym.reshape(mx.sym.arange(start=0, stop=101), shape=(101, 1), name="years")
    group = mx.sym.Group([fc1, gender, ages, mx.sym.dot(ages, years, name="age")])
    path = tmp_path / "network.json"
    path.write_text(group.tojson())
    return path


def write_faces(path: Path, *, count: int, bad: int | None = None) -> None:
    rng = np.random.default_rng(0)
    with RecordWriter(path) as writer:
        for key in range(count):
            image = rng.integers(0, 255, (16, 16, 3)).astype(np.uint8)
            body = b"no JPEG" if key == bad else simplejpeg.encode_jpeg(image)
            label = np.array([key % 2, rng.integers(0, 101)], np.float32)
            writer.write(key, pack(Header(label=label, id=key), body))


def test_two_workers_do_as_one_with_the_same_global_batch(root: Path, network: Path, tmp_path: Path) -> None:
    write_faces(tmp_path / "train.rec", count=24)
    child = [sys.executable, "-c", CHILD, str(network), str(tmp_path)]
    both = launch(root, *child, str(tmp_path / "two" / "m"), "4")
    assert both.returncode == 0, both.stderr
    lines = both.stdout.splitlines()
    assert sorted(line.partition("] ")[2] for line in lines if "ended with" in line) == [
        "ended with 2",
        "ended with None",
    ]
    assert {line.partition("]")[0] for line in lines} == {"[worker 0", "[worker 1"}
    # The first worker alone reports.
    assert sum("Epoch[0] Batch [0-2]" in line for line in lines) == 1

    one = subprocess.run(
        [*child, str(tmp_path / "one" / "m"), "8"],
        env={**os.environ, "PYTHONPATH": str(root / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert one.returncode == 0, one.stderr
    expected = load_checkpoint(tmp_path / "one" / "m", 2).params
    for name, array in load_checkpoint(tmp_path / "two" / "m", 2).params.items():
        np.testing.assert_allclose(array, expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_a_worker_that_fails_ends_the_others(root: Path, network: Path, tmp_path: Path) -> None:
    write_faces(tmp_path / "train.rec", count=24, bad=5)
    child = [sys.executable, "-c", CHILD, str(network), str(tmp_path), str(tmp_path / "run" / "m"), "4"]
    ended = launch(root, *child)
    assert ended.returncode != 0
    assert "train.rec: record 5" in ended.stderr
    assert "stopping all" in ended.stderr
    time.sleep(0.5)
    assert not running(str(tmp_path))


def test_the_exit_code_is_that_of_the_worker_and_nothing_is_left(root: Path, tmp_path: Path) -> None:
    (tmp_path / "once").mkdir()
    script = f"rmdir {tmp_path}/once && exit 3; sleep 300 # {tmp_path}"
    began = time.monotonic()
    ended = launch(root, "sh", "-c", script)
    assert ended.returncode == 3
    assert "launch.py: worker" in ended.stderr and "ended with 3, stopping all" in ended.stderr
    assert time.monotonic() - began < 100
    assert not running(str(tmp_path))


def test_arguments_that_make_no_sense_are_refused(root: Path) -> None:
    ended = launch(root, "true", workers=0)
    assert ended.returncode == 2
    assert "give -n WORKERS (1 or more)" in ended.stderr


def running(word: str) -> list[str]:
    """Return the command lines of processes that mention ``word``, but for our own."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if word in command and int(path.parent.name) != os.getpid():
            found.append(command)
    return found
