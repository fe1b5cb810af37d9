"""Two processes over gloo on this machine, against one with the same global batch."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agegender.config import as_json
from agegender.engine import TrainConfig
from agegender.graph import load_checkpoint, load_states, states_path
from agegender.graph.checkpoint import saved_epochs

Configure = Callable[..., TrainConfig]
Build = Callable[..., str]

# Arguments: configuration, network JSON, number of processes. Started again by launch, it trains.
CHILD = """
import json, logging, sys
from pathlib import Path
from agegender.engine import TrainConfig, train
from agegender.engine.torch_launch import launch, leave
from agegender.executor.choice import launched_by_torch
from agegender.pipeline import LoaderConfig
from agegender.errors import AgeGenderError
if int(sys.argv[3]) > 1 and not launched_by_torch():
    sys.exit(launch([sys.executable, "-c", sys.argv[4], *sys.argv[1:]], processes=int(sys.argv[3])))
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
try:
    result = train(TrainConfig(**json.loads(sys.argv[1])), LoaderConfig(jitter=0.1),
                   network_json=Path(sys.argv[2]).read_text())
except AgeGenderError as error:
    print(f"error: {error}", file=sys.stderr)
    leave(1)
# In one piece: both processes say it at the same moment, into the same pipe.
sys.stdout.write(f"ended with {result.last}\\n")
leave(130 if result.interrupted else 0)
"""


def start(root: Path, config: TrainConfig, network: Path, *, processes: int) -> subprocess.Popen[str]:
    arguments = [json.dumps(as_json(config)), str(network), str(processes), CHILD]
    return subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments],
        env={**os.environ, "PYTHONPATH": str(root / "src"), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(root: Path, config: TrainConfig, network: Path, *, processes: int) -> tuple[int, str, str]:
    process = start(root, config, network, processes=processes)
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors


@pytest.fixture
def network(make_network: Build, tmp_path: Path) -> Path:
    """A network without BatchNorm: nothing in it depends on who has which faces."""
    path = tmp_path / "network.json"
    path.write_text(make_network(batch_norm=False, dropout=False))
    return path


def figures_of(line: str) -> list[float]:
    """Return acc, MAE and CUM_5 of a log line."""
    return [float(figure) for figure in re.findall(r"=([0-9.]+|nan)", line)]


def compare(root: Path, configure: Configure, network: Path, tmp_path: Path, **changes: Any) -> list[str]:
    """Train with one process and with two; assert that both end the same, and return what the two printed."""
    common = {"engine": "torch", "end_epoch": 2, "frequent": 3, "optimizer": "sgd", "lr": 0.01, "ema": 0.9, **changes}
    ended, printed = [], []
    for processes in (1, 2):
        prefix = tmp_path / str(processes) / "model"
        config = configure(
            **common,
            prefix=str(prefix),
            batch_size=8 // processes,
            gpu_ids=",".join(["cpu"] * processes),
        )
        code, output, errors = run(root, config, network, processes=processes)
        assert code == 0, errors
        printed.append(output.splitlines())
        ended.append(load_states(states_path(prefix, 2))[0])
    for name, array in ended[0].items():
        np.testing.assert_allclose(ended[1][name], array, rtol=1e-4, atol=1e-5, err_msg=name)
    # The figures of the log line are those of all faces, not of one process's.
    figures = [[figures_of(line) for line in output if "Batch [" in line] for output in printed]
    assert len(figures[0]) == 6
    np.testing.assert_allclose(figures[1], figures[0], rtol=1e-4)
    return printed[1]


def test_two_processes_do_as_one_with_the_same_global_batch(
    root: Path, configure: Configure, network: Path, tmp_path: Path
) -> None:
    printed = compare(root, configure, network, tmp_path)
    assert sorted(line for line in printed if line.startswith("ended with")) == ["ended with 2", "ended with None"]
    assert sum("worker 0 of 2" in line for line in printed) == 1


def test_labels_known_to_one_process_alone_count_for_what_they_are(
    root: Path, configure: Configure, network: Path, tmp_path: Path, write: Callable[..., None]
) -> None:
    from agegender.recordio import Header, RecordWriter, open_records, pack, unpack

    folder = tmp_path / "faces"
    folder.mkdir()
    write(folder / "whole.rec", count=72, seed=3)
    records = open_records(folder / "whole.rec")
    with RecordWriter(folder / "train.rec") as writer:
        for position in range(72):
            header, body = unpack(records.read(position))
            label = header.label.copy()
            label[1 if position % 3 else 0] = -1
            writer.write(position, pack(Header(label, position), bytes(body)))
    compare(root, configure, network, tmp_path, data_dir=str(folder))


def test_frozen_statistics_do_as_one_process(
    root: Path, configure: Configure, make_network: Build, tmp_path: Path
) -> None:
    text = make_network(dropout=False).replace(
        '"fix_gamma": "False"', '"fix_gamma": "False", "use_global_stats": "True"'
    )
    assert "use_global_stats" in text
    path = tmp_path / "frozen.json"
    path.write_text(text)
    compare(root, configure, path, tmp_path)


def test_synchronised_statistics_do_as_one_process(
    root: Path, configure: Configure, make_network: Build, tmp_path: Path
) -> None:
    path = tmp_path / "bn.json"
    path.write_text(make_network(dropout=False))
    compare(root, configure, path, tmp_path, sync_bn=True)


def test_ctrl_c_saves_once_and_all_leave(root: Path, configure: Configure, network: Path, tmp_path: Path) -> None:
    config = configure(engine="torch", end_epoch=10_000, batch_size=4, gpu_ids="cpu,cpu", frequent=1)
    process = start(root, config, network, processes=2)
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("Epoch[1] Batch"):
            process.send_signal(signal.SIGINT)
            break
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "interrupted: saving" in output
    prefix = tmp_path / "run" / "model"
    last = saved_epochs(prefix)[-1]
    assert load_checkpoint(prefix, last).params
    assert states_path(prefix, last).exists()


def test_a_process_that_fails_ends_the_others(root: Path, configure: Configure, network: Path, tmp_path: Path) -> None:
    from agegender.recordio import Header, RecordWriter, pack

    with RecordWriter(tmp_path / "train.rec") as writer:
        for key in range(16):
            writer.write(key, pack(Header(np.float32([0, 30]), key), b"no JPEG"))
    config = configure(engine="torch", data_dir=str(tmp_path), batch_size=4, gpu_ids="cpu,cpu")
    began = time.monotonic()
    code, _, errors = run(root, config, network, processes=2)
    assert code == 1
    assert "train.rec: record" in errors
    assert time.monotonic() - began < 60
