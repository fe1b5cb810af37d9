"""What a training reads: train.rec and val.rec of a folder, as loaders."""

from __future__ import annotations

import csv
import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from agegender.engine.config import TrainConfig
from agegender.engine.vectors import check_body, check_same_model
from agegender.engine.workers import Workers
from agegender.errors import DataError, RecordError, UsageError
from agegender.input_shape import Size, is_vector, size_of
from agegender.pipeline import (
    BalanceEffect,
    Loader,
    LoaderConfig,
    SetInfo,
    balance_by_age,
    balance_effect,
    read_set_info,
)
from agegender.recordio import RecordSet, open_records, set_json

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingData:
    """Loaders of one worker; ``val`` None where there is no val.rec. ``info`` is what train.json says, if there.

    ``records`` is how many faces train.rec has; ``balance`` what balancing does to them, None where all come once.
    """

    train: Loader
    val: Loader | None
    info: SetInfo | None
    records: int
    balance: BalanceEffect | None
    digest: str
    label_order: str
    # Of the net's input: height and width, or how many numbers an embedding has.
    size: Size

    def __enter__(self) -> TrainingData:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the loaders' threads."""
        self.train.close()
        if self.val is not None:
            self.val.close()


def open_data(config: TrainConfig, augmentation: LoaderConfig, *, contexts: int, workers: Workers) -> TrainingData:
    """Open the sets under ``config.data_dir`` for a global batch of workers x contexts x batch_size.

    Raises RecordError where train.rec is missing, DataError where train and val are in different crop templates, are
    embeddings of different models, or not what the network takes.
    """
    folder = Path(config.data_dir)
    records = _open(folder / "train.rec")
    if records is None:
        raise RecordError(f"{folder / 'train.rec'} is not there; create_dataset.py packs one, --data_dir names another")
    info = _checked_info(folder / "train.rec", config)
    label_order = config.label_order or (info.labels if info is not None else "gender,age")
    rows = contexts * config.batch_size
    size = _size(config)
    balanced = None if config.balance == "none" else _gender_age(records, label_order)
    groups = _groups(records) if config.balance in ("group", "cell") else ()
    train = Loader(
        records,
        batch_size=rows,
        size=size,
        config=augmentation,
        shuffle=True,
        seed=config.seed,
        rank=workers.rank,
        world=workers.count,
        order=None
        if balanced is None
        else partial(balance_by_age, balanced, config.seed, balance=config.balance, groups=groups),
        label_order=label_order,
    )
    val = _open_val(
        folder / "val.rec", info, config, rows=rows, size=size, label_order=label_order, augmentation=augmentation
    )
    effect = (
        None if balanced is None else balance_effect(balanced, balance=config.balance, seed=config.seed, groups=groups)
    )
    return TrainingData(
        train=train,
        val=val,
        info=info,
        records=len(records),
        balance=effect,
        digest=records.digest(),
        label_order=label_order,
        size=size,
    )


def _size(config: TrainConfig) -> Size:
    shape = config.data_shape
    if shape is None or len(shape) != 3 or min(shape) < 1 or (shape[0] != 3 and not is_vector(shape)):
        raise UsageError(f"data_shape {shape} is neither 3,height,width nor numbers,1,1 of an embedding")
    return size_of((shape[0], shape[1], shape[2]))


def _open(path: Path) -> RecordSet | None:
    if not path.exists() and not list(path.parent.glob(f"{path.stem}-*-of-*.rec")):
        return None
    return open_records(path)


def _checked_info(path: Path, config: TrainConfig) -> SetInfo | None:
    info = read_set_info(path)
    if info is not None:
        check_body(info, config)
    return info


def _open_val(
    path: Path,
    train_info: SetInfo | None,
    config: TrainConfig,
    *,
    rows: int,
    size: Size,
    label_order: str,
    augmentation: LoaderConfig,
) -> Loader | None:
    records = _open(path)
    if records is None:
        _log.info("%s is not there: no validation, no best checkpoint", path)
        return None
    info = _checked_info(path, config)
    if train_info is not None and info is not None:
        check_same_model(info, train_info)
    if train_info is not None and info is not None and info.template.get("name") != train_info.template.get("name"):
        names = info.template.get("name"), train_info.template.get("name")
        raise DataError(f"{path} is in the crop template {names[0]!r}, train.rec in {names[1]!r}")
    plain = LoaderConfig(
        rand_mirror=False, bad_records=augmentation.bad_records, loader_threads=augmentation.loader_threads
    )
    return Loader(records, batch_size=rows, size=size, config=plain, last="partial", label_order=label_order)


def _groups(records: RecordSet) -> list[str]:
    """Return the group of each record, by position: column ``group`` of the CSV beside the set, "" where it has none.

    Raises DataError where nothing has a group.
    """
    path = set_json(Path(records.path)).with_suffix(".csv")
    known: dict[str, str] = {}
    if path.is_file():
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            known = {row.get("key") or "": row.get("group") or "" for row in csv.DictReader(file)}
    groups = [known.get(str(key), "") for key in records.keys.tolist()]
    if not any(groups):
        raise DataError(f"{path}: no face has a group; --balance age balances without")
    return groups


def _gender_age(records: RecordSet, label_order: str) -> npt.NDArray[np.float32]:
    labels = records.labels(2)
    return labels[:, ::-1] if label_order == "age,gender" else labels
