"""Reading ``train.json``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agegender.errors import DataError
from agegender.pipeline.set_info import read_set_info
from agegender.recordio.shards import set_json

pytestmark = pytest.mark.quick

WHOLE: dict[str, Any] = {
    "format": 1,
    "version": "0.1.0",
    "split": "train",
    "records": 12,
    "template": {"name": "utkface", "points": [[0.3, 0.3]], "size": [112, 112]},
    "labels": "gender,age",
    "body": "jpeg",
    "sha256": {"train.rec": "ab"},
    "synthetic": True,
}


@pytest.mark.parametrize(
    ("records", "json_name"),
    [
        ("train.rec", "train.json"),
        ("train-00003-of-00012.rec", "train.json"),
        ("my-set.rec", "my-set.json"),
        ("train", "train.json"),
    ],
)
def test_where_it_lies(records: str, json_name: str) -> None:
    assert set_json(Path("sets") / records) == Path("sets") / json_name


def test_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "train.json").write_text(json.dumps(WHOLE), encoding="utf-8")
    info = read_set_info(tmp_path / "train.rec")
    assert info is not None
    assert (info.records, info.split, info.labels, info.body) == (12, "train", "gender,age", "jpeg")
    assert info.template["name"] == "utkface" and info.synthetic
    assert info.sha256 == {"train.rec": "ab"}
    assert info.raw == WHOLE


def test_none_beside_foreign_sets(tmp_path: Path) -> None:
    assert read_set_info(tmp_path / "train.rec") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not readable as a set description"),
        ("[]", "not readable as a set description (not a JSON object)"),
        ('{"format": 9}', "format 9 is not 1; it was packed by another version"),
        ('{"format": 1, "template": {}}', "'records' is missing"),
        ('{"format": 1, "records": "many", "template": {}}', "not readable as a set description"),
    ],
)
def test_damage_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "train.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_set_info(tmp_path / "train.rec")
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
