"""Folds: a set's own are kept, made ones are even and keep people together, and their files hold every face once."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agegender.dataset.config import PackConfig
from agegender.dataset.face_record import FaceSample
from agegender.dataset.folds import make_folds, own_folds, read_faces, write_folds
from agegender.dataset.pack import pack
from agegender.errors import DataError, UsageError
from agegender.recordio import open_records, unpack


def person(number: int, *, subject: str = "", fold: str = "", age: int | None = None) -> FaceSample:
    years = number % 80 if age is None else age
    return FaceSample(Path(f"set/{number}.jpg"), number % 2, years, "set", subject=subject, fold=fold)


def test_made_folds_keep_people_together_and_strata_even() -> None:
    samples = [person(number, subject=f"s{number // 3}", age=20 + number // 3 % 30) for number in range(600)]
    folds = make_folds(samples, 5, seed=3)
    assert folds.names == ("0", "1", "2", "3", "4")
    assert folds.rule == "5 folds made with seed 3, a subject is in one fold only"
    homes: dict[str, set[int]] = {}
    for sample, fold in zip(samples, folds.of.tolist()):
        homes.setdefault(sample.subject, set()).add(fold)
    assert all(len(home) == 1 for home in homes.values())
    assert Counter(folds.of.tolist()) == dict.fromkeys(range(5), 120)
    for decade in (20, 30, 40):
        sizes = Counter(int(fold) for fold, face in zip(folds.of, samples) if face.age // 10 * 10 == decade)
        # Dealt by subject, within two genders: two units of three faces at most.
        assert max(sizes.values()) - min(sizes.values()) <= 6


def test_made_folds_depend_on_the_seed_not_on_the_order() -> None:
    samples = [person(number) for number in range(100)]
    folds = make_folds(samples, 4, seed=0)
    again = make_folds(samples[::-1], 4, seed=0)
    assert folds.of.tolist() == again.of[::-1].tolist()
    assert folds.of.tolist() != make_folds(samples, 4, seed=1).of.tolist()
    assert "a subject may be in several folds" in folds.rule


@pytest.mark.parametrize("count", [1, 4])
def test_there_are_no_more_folds_than_people(count: int) -> None:
    samples = [person(number, subject=f"s{number % 3}") for number in range(9)]
    with pytest.raises(UsageError, match=rf"--folds {count} is not within 2\.\.3"):
        make_folds(samples, count, seed=0)


def test_own_folds_are_never_shuffled() -> None:
    samples = [person(number, fold=("10", "9", "")[number % 3]) for number in range(9)]
    folds = own_folds(samples)
    assert folds is not None
    assert folds.names == ("9", "10")
    assert folds.of.tolist() == [1, 0, -1] * 3
    assert own_folds([person(number) for number in range(4)]) is None


def test_a_person_in_two_own_folds_is_an_error() -> None:
    samples = [
        person(0, subject="ann", fold="0"),
        person(1, subject="bob", fold="1"),
        person(2, subject="ann", fold="1"),
    ]
    with pytest.raises(DataError, match="subject 'ann' is in fold '0' and in '1'"):
        own_folds(samples)


def test_the_files_hold_every_face_once_as_it_was(draw_files, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    samples = [replace(face, subject=f"s{number // 2}") for number, face in enumerate(draw_files(60))]
    output = tmp_path / "set"
    pack(samples, PackConfig(output=str(output), template="utkface", image_size=48, val_ratio=0.2))
    sets = [open_records(output / f"{name}.rec") for name in ("train", "val")]
    faces = read_faces(sets)
    bodies = [bytes(unpack(faces.payload(face))[1]) for face in range(60)]
    folds = make_folds(faces.samples, 3, seed=0)
    stems = write_folds(faces, folds, tmp_path / "parts", val_ratio=0.25, seed=0)
    assert sorted(face for chosen in stems.values() for face in chosen) == list(range(60))
    for stem, chosen in stems.items():
        fold = int(stem.split("-")[1])
        with open_records(tmp_path / "parts" / f"{stem}.rec") as records:
            assert records.keys.tolist() == chosen
            for place, face in enumerate(chosen):
                header, body = unpack(records.read(place))
                assert folds.of[face] == fold
                assert (header.id, bytes(body)) == (face, bodies[face])
                assert header.label.tolist() == [faces.samples[face].gender, faces.samples[face].age]
    for fold in range(3):
        fit, val = ({faces.samples[face].subject for face in stems[f"fold-{fold}-{part}"]} for part in ("fit", "val"))
        assert not fit & val
        assert len(val) == pytest.approx(0.25 * len(fit | val), abs=1.5)


def test_a_set_without_its_table_is_named(draw_files, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    pack(draw_files(8), PackConfig(output=str(tmp_path / "set"), template="utkface", image_size=48, val_ratio=0.0))
    (tmp_path / "set" / "train.csv").unlink()
    with pytest.raises(DataError, match=r"train\.csv is not there: folds need to know which photo and subject"):
        read_faces([open_records(tmp_path / "set" / "train.rec")])


def test_faces_without_a_row_are_named(draw_files, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    pack(draw_files(8), PackConfig(output=str(tmp_path / "set"), template="utkface", image_size=48, val_ratio=0.0))
    table = tmp_path / "set" / "train.csv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(DataError, match=r"train\.csv has no row for record 7 of train\.rec"):
        read_faces([open_records(tmp_path / "set" / "train.rec")])


def test_labels_in_the_other_order_are_turned(draw_files, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    pack(draw_files(8), PackConfig(output=str(tmp_path / "set"), template="utkface", image_size=48, val_ratio=0.0))
    faces = read_faces([open_records(tmp_path / "set" / "train.rec")], label_order="age,gender")
    plain = read_faces([open_records(tmp_path / "set" / "train.rec")])
    assert np.array_equal([face.age for face in faces.samples], [face.gender for face in plain.samples])
