"""What a training reads: train.rec and val.rec of a folder, as loaders."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt

from agegender.engine.config import TrainConfig
from agegender.engine.workers import Workers
from agegender.errors import DataError, RecordError, UsageError
from agegender.pipeline import (
    BalanceEffect,
    Loader,
    LoaderConfig,
    SetInfo,
    balance_by_age,
    balance_effect,
    read_set_info,
)
from agegender.recordio import RecordSet, open_records

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
    # Height and width of the net's input.
    size: tuple[int, int]

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

    Raises RecordError where train.rec is missing, DataError where train and val are in different crop templates.
    """
    folder = Path(config.data_dir)
    records = _open(folder / "train.rec")
    if records is None:
        raise RecordError(f"{folder / 'train.rec'} is not there; create_dataset.py packs one, --data_dir names another")
    info = _checked_info(folder / "train.rec")
    label_order = config.label_order or (info.labels if info is not None else "gender,age")
    rows = contexts * config.batch_size
    size = _size(config)
    balanced = None if config.balance == "none" else _gender_age(records, label_order)
    train = Loader(
        records,
        batch_size=rows,
        size=size,
        config=augmentation,
        shuffle=True,
        seed=config.seed,
        rank=workers.rank,
        world=workers.count,
        order=None if balanced is None else partial(balance_by_age, balanced, config.seed, balance=config.balance),
        label_order=label_order,
    )
    val = _open_val(folder / "val.rec", info, rows=rows, size=size, label_order=label_order, augmentation=augmentation)
    effect = None if balanced is None else balance_effect(balanced, balance=config.balance, seed=config.seed)
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


def _size(config: TrainConfig) -> tuple[int, int]:
    shape = config.data_shape
    if shape is None or len(shape) != 3 or shape[0] != 3 or min(shape) < 1:
        raise UsageError(f"data_shape {shape} is not 3,height,width")
    return shape[1], shape[2]


def _open(path: Path) -> RecordSet | None:
    if not path.exists() and not list(path.parent.glob(f"{path.stem}-*-of-*.rec")):
        return None
    return open_records(path)


def _checked_info(path: Path) -> SetInfo | None:
    info = read_set_info(path)
    if info is not None and info.body != "jpeg":
        raise DataError(f"{info.path}: the records hold {info.body}, training reads jpeg")
    return info


def _open_val(
    path: Path,
    train_info: SetInfo | None,
    *,
    rows: int,
    size: tuple[int, int],
    label_order: str,
    augmentation: LoaderConfig,
) -> Loader | None:
    records = _open(path)
    if records is None:
        _log.info("%s is not there: no validation, no best checkpoint", path)
        return None
    info = _checked_info(path)
    if train_info is not None and info is not None and info.template.get("name") != train_info.template.get("name"):
        names = info.template.get("name"), train_info.template.get("name")
        raise DataError(f"{path} is in the crop template {names[0]!r}, train.rec in {names[1]!r}")
    plain = LoaderConfig(
        rand_mirror=False, bad_records=augmentation.bad_records, loader_threads=augmentation.loader_threads
    )
    return Loader(records, batch_size=rows, size=size, config=plain, last="partial", label_order=label_order)


def _gender_age(records: RecordSet, label_order: str) -> npt.NDArray[np.float32]:
    labels = records.labels(2)
    return labels[:, ::-1] if label_order == "age,gender" else labels
