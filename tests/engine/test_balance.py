"""--balance in a training: what is logged and written, and that resuming and several workers keep to it."""

from __future__ import annotations

import csv
import json
import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agegender.engine import TrainConfig, train
from agegender.engine.data import open_data
from agegender.engine.workers import Workers
from agegender.errors import DataError, UsageError
from agegender.graph import load_states, read_info, states_path
from agegender.pipeline import BalanceEffect, LoaderConfig, balance_by_age
from agegender.recordio import open_records

Configure = Callable[..., TrainConfig]
Build = Callable[..., str]


@pytest.mark.parametrize("balance", ["age", "over", "under"])
def test_what_it_does_is_logged_and_written(
    make_network: Build, configure: Configure, faces: Path, balance: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="agegender")
    drawn: list[tuple[BalanceEffect, Path]] = []
    config = configure(balance=balance, end_epoch=1)
    train(
        config,
        LoaderConfig(),
        network_json=make_network(),
        draw_balance=lambda effect, path: drawn.append((effect, path)),
    )
    length = len(balance_by_age(open_records(faces / "train.rec").labels(2), 0, 0, balance=balance))
    assert (length > 72, length < 72) == (balance == "over", balance == "under")
    assert f"balance {balance}: 72 faces, {length} per epoch" in caplog.messages
    folder = config.checkpoint_prefix.parent
    rows = list(csv.DictReader((folder / "balance.csv").read_text().splitlines()))
    assert sum(int(row["faces"]) for row in rows) == 72 and sum(int(row["per_epoch"]) for row in rows) == length
    assert [path for _, path in drawn] == [folder / "balance.png"]
    assert json.loads((folder / "config.json").read_text())["balance"] == balance
    info = read_info(config.checkpoint_prefix)
    # A model was trained on so many records, however often each came.
    assert info is not None and info.data["records"] == 72


def test_without_it_nothing_is_written(make_network: Build, configure: Configure) -> None:
    config = configure(end_epoch=1)
    train(config, LoaderConfig(), network_json=make_network())
    assert not list(config.checkpoint_prefix.parent.glob("balance*"))


@pytest.mark.parametrize("balance", ["over", "under"])
def test_resumed_it_ends_where_one_left_alone_does(
    make_network: Build, configure: Configure, tmp_path: Path, balance: str
) -> None:
    ended = {}
    for name, ends in (("whole", (3,)), ("parts", (1, 3))):
        prefix = tmp_path / name / "model"
        for end in ends:
            config = configure(balance=balance, end_epoch=end, prefix=str(prefix), resume=end != ends[0])
            train(config, LoaderConfig(), network_json=make_network())
        ended[name], _ = load_states(states_path(prefix, 3))
    for name, array in ended["whole"].items():
        np.testing.assert_array_equal(ended["parts"][name], array, err_msg=name)


@pytest.mark.parametrize("balance", ["over", "under"])
def test_two_workers_share_the_epoch_of_one(configure: Configure, balance: str) -> None:
    config, seen = configure(balance=balance, batch_size=4), []
    for rank in (0, 1):
        with open_data(config, LoaderConfig(), contexts=1, workers=Workers(rank, 2, lambda sums: sums)) as data:
            assert data.balance is not None
            length = int(data.balance.after.sum())
            seen += [(batch.first + row, key) for batch in data.train.epoch(1) for row, key in enumerate(batch.keys)]
    with open_data(configure(balance=balance, batch_size=8), LoaderConfig(), contexts=1, workers=Workers()) as data:
        alone = [int(key) for batch in data.train.epoch(1) for key in batch.keys]
    # The last batch is filled up from the start in either case.
    assert [int(key) for _, key in sorted(seen)][:length] == alone[:length]


@pytest.mark.parametrize(
    ("task", "best_by", "message"),
    [
        ("age", "acc", r"best_by 'acc' is not scored with task 'age' \(auto, MAE, CUM_5, bin_acc\)"),
        ("gender", "MAE", r"best_by 'MAE' is not scored with task 'gender' \(auto, acc\)"),
    ],
)
def test_a_head_that_is_not_learned_makes_nothing_best(
    configure: Configure, task: str, best_by: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        configure(task=task, best_by=best_by)


def test_group_reads_the_groups_beside_the_records(configure: Configure, faces: Path, tmp_path: Path) -> None:
    folder = tmp_path / "grouped"
    shutil.copytree(faces, folder)
    keys = open_records(folder / "train.rec").keys.tolist()
    (folder / "train.csv").write_text(
        "key,path,source,subject,group,box,score\n"
        + "".join(f"{key},{key}.jpg,x,,{'rare' if row < 4 else 'common'},,\n" for row, key in enumerate(keys))
    )
    with open_data(
        configure(data_dir=str(folder), balance="group"), LoaderConfig(), contexts=1, workers=Workers()
    ) as data:
        assert data.balance is not None and data.balance.after.sum() == len(keys)
    labels = open_records(folder / "train.rec").labels(2)
    order = balance_by_age(labels, 0, 0, balance="group", groups=["rare"] * 4 + ["common"] * (len(keys) - 4))
    assert (order < 4).sum() > 4


def test_group_without_groups_is_refused(configure: Configure, faces: Path, tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    shutil.copytree(faces, folder)
    (folder / "train.csv").unlink(missing_ok=True)
    with pytest.raises(DataError, match=r"train\.csv: no face has a group; --balance age balances without"):
        open_data(configure(data_dir=str(folder), balance="group"), LoaderConfig(), contexts=1, workers=Workers())
