"""Bins, deviations, folds and boxes on their way through lists, duplicates, split and records."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from agegender.dataset.config import PackConfig
from agegender.dataset.crop import NO_FACE, CropSettings, crop_face, find_face_in
from agegender.dataset.duplicates import drop_duplicates
from agegender.dataset.face_record import FaceSample
from agegender.dataset.gather import choose_sources
from agegender.dataset.list_file import read_list, write_list
from agegender.dataset.pack import pack
from agegender.dataset.problems import CONTRADICTION, DUPLICATE, Problems
from agegender.dataset.split import split
from agegender.errors import LabelError, UsageError
from agegender.face import encode_jpeg, get_template
from agegender.face.detector import Detection
from agegender.pipeline import Loader, read_set_info
from agegender.pipeline.config import LoaderConfig
from agegender.recordio import open_records, unpack

DrawFiles = Callable[..., list[FaceSample]]
Pixels = npt.NDArray[np.uint8]


def labelled(faces: list[FaceSample]) -> list[FaceSample]:
    """Give some faces bins, one a deviation, the others nothing more than they have."""
    known = [replace(faces[0], age=28, low=25, high=32, fold="0"), replace(faces[1], age=30, std=4.5, fold="1")]
    return [*known, replace(faces[2], age=-1, fold="1"), *faces[3:]]


def packed(faces: list[FaceSample], output: Path, **options: object) -> None:
    values: dict[str, object] = {"image_size": 48, "val_ratio": 0.0, "workers": 2, **options}
    pack(faces, PackConfig(output=str(output), **values))  # type: ignore[arg-type]


def test_records_hold_bins_and_the_table_folds(draw_files: DrawFiles, tmp_path: Path) -> None:
    faces = labelled(draw_files(8))
    packed(faces, tmp_path / "set")
    by_path = {str(face.path): face for face in faces}
    with open(tmp_path / "set" / "train.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[-1] == "fold"
    with open_records(tmp_path / "set" / "train.rec") as records:
        for position, row in enumerate(rows):
            header, _ = unpack(records.read(position))
            face = by_path[row["path"]]
            assert header.label.tolist() == [face.gender, face.age, face.low, face.high, face.std]
            assert row["fold"] == face.fold
    info = read_set_info(tmp_path / "set" / "train.rec")
    assert info is not None
    assert info.labels == "gender,age,low,high,std"


def test_without_bins_and_folds_records_are_as_ever(draw_files: DrawFiles, tmp_path: Path) -> None:
    packed(draw_files(8), tmp_path / "set")
    with open_records(tmp_path / "set" / "train.rec") as records:
        assert len(unpack(records.read(0))[0].label) == 2
    assert (tmp_path / "set" / "train.csv").read_text().splitlines()[0] == "key,path,source,subject,group,box,score"


def test_a_loader_serves_bins_where_the_set_says_that_it_has_some(draw_files: DrawFiles, tmp_path: Path) -> None:
    packed(labelled(draw_files(8)), tmp_path / "set")
    info = read_set_info(tmp_path / "set" / "train.rec")
    assert info is not None
    config = LoaderConfig(rand_mirror=False)
    for order, width in ((info.labels, 5), ("gender,age", 2)):
        with open_records(tmp_path / "set" / "train.rec") as records:
            loader = Loader(records, batch_size=8, size=(48, 48), config=config, label_order=order)
            with loader:
                batch = next(loader.epoch(0))
                assert (loader.binned, batch.known_labels.shape) == (width == 5, (8, width))
                if width == 5:
                    assert [28, 25, 32, -1] in batch.known_labels[:, 1:].tolist()


def test_bins_come_back_from_a_list(draw_files: DrawFiles, tmp_path: Path) -> None:
    faces = labelled(draw_files(4))
    faces[3] = replace(faces[3], box=(1.0, 2.5, 30.0, 40.0), low=0, high=2, age=1)
    write_list(tmp_path / "drawn_list.txt", faces)
    assert read_list(tmp_path / "drawn_list.txt") == faces
    assert (tmp_path / "drawn_list.txt").read_text().splitlines()[0] == "path,gender,age,template,low,high,std,fold,box"


@pytest.mark.parametrize(
    ("header", "row", "error"),
    [
        ("low,high", "25,", r"low '25' and high '' make no bin; give both, or none"),
        ("low,high", "32,25", r"low '32' is above high '25'"),
        ("low,high", "41,50", r"age 40 is not in the bin 41\.\.50"),
        ("std", "x", r"std 'x' is not a number of years"),
        ("std", "-3", r"std '-3' is not above 0"),
        ("std", "nan", r"std 'nan' is not above 0"),
        ("box", "1 2 3", r"box '1 2 3' is not four numbers x1 y1 x2 y2"),
        ("box", "5 5 5 9", r"box '5 5 5 9' has no area"),
    ],
)
def test_lists_refuse_what_makes_no_bin(tmp_path: Path, header: str, row: str, error: str) -> None:
    (tmp_path / "a.csv").write_text(f"path,gender,age,{header}\na.jpg,0,40,{row}\n")
    with pytest.raises(LabelError, match=rf"a\.csv:2: {error}"):
        read_list(tmp_path / "a.csv")


def test_a_bin_alone_stands_for_its_middle(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("path,gender,low,high\na.jpg,0,60,100\n")
    face = read_list(tmp_path / "a.csv")[0]
    assert (face.age, face.age_range) == (80, (60, 100))


def test_an_age_and_a_bin_that_holds_it_are_one_face(tmp_path: Path) -> None:
    def same(name: str, age: int, low: int = -1, high: int = -1) -> FaceSample:
        (tmp_path / name).write_text("same")
        return FaceSample(tmp_path / name, 0, age, "X", low=low, high=high)

    def run(*faces: FaceSample) -> tuple[list[str], list[tuple[str, str]]]:
        problems = Problems()
        kept = drop_duplicates(faces, problems)
        return [face.path.name for face in kept], [(row.reason, row.detail) for row in problems]

    kept, problems = run(same("a", 28, 25, 32), same("b", 31))
    assert (kept, [reason for reason, _ in problems]) == (["b"], [DUPLICATE])
    kept, problems = run(same("a", 28, 25, 32), same("b", 33))
    assert kept == []
    assert sorted(problems) == [
        (CONTRADICTION, "age 25-32, but the same picture is b (33)"),
        (CONTRADICTION, "age 33, but the same picture is a (25-32)"),
    ]


def test_faces_of_one_photo_are_no_duplicates_and_stay_together(tmp_path: Path) -> None:
    photos = []
    for number in range(20):
        path = tmp_path / f"{number}.jpg"
        path.write_text(f"photo {number}")
        photos += [FaceSample(path, who, 20 + who, "X", box=(who, 0, who + 1, 1)) for who in (0, 1)]
    problems = Problems()
    kept = drop_duplicates([*photos, photos[0]], problems)
    assert {(face.path, face.box) for face in kept} == {(face.path, face.box) for face in photos}
    assert len(kept) == len(photos)
    assert problems.counts() == {DUPLICATE: 1}
    parts = split(photos, val_ratio=0.3, test_ratio=0.0, seed=1)
    assert parts["val"]
    assert not {face.path for face in parts["val"]} & {face.path for face in parts["train"]}


class Fixed:
    """A detector that knows where the faces of a photo are; it sees a part of it by the mark in the first pixel."""

    def __init__(self, boxes: list[tuple[float, float, float, float]]) -> None:
        self.boxes = boxes

    def detect(self, image: Pixels, *, min_face: float | None = None) -> list[Detection]:
        # The pixels of the photo are their own coordinates.
        left, top = int(image[0, 0, 0]), int(image[0, 0, 1])
        found = []
        for box in self.boxes:
            own = np.array(box, np.float32) - np.array([left, top, left, top], np.float32)
            if (own[:2] >= 0).all() and own[2] <= image.shape[1] and own[3] <= image.shape[0]:
                side = own[2] - own[0]
                points = np.asarray(get_template("utkface").pixels(1) * side + own[:2], np.float32)
                found.append(Detection(own, points, 0.9))
        return found


def coordinates() -> Pixels:
    image = np.zeros((200, 250, 3), np.uint8)
    image[..., 0] = np.arange(250)[None, :]
    image[..., 1] = np.arange(200)[:, None]
    return image


def test_the_face_in_the_box_is_found() -> None:
    detector = Fixed([(20, 20, 60, 60), (150, 100, 190, 140), (120, 90, 150, 120)])
    for box, wanted in (((148, 98, 192, 138), (150, 100, 190, 140)), ((18, 22, 62, 61), (20, 20, 60, 60))):
        face = find_face_in(coordinates(), box, detector, min_face=12)
        assert face is not None
        assert face.box.tolist() == list(wanted)
        assert wanted[0] < face.landmarks[:, 0].min() < face.landmarks[:, 0].max() < wanted[2]
    for empty in ((220, 10, 240, 30), (300, 300, 340, 340), (-90, -90, -50, -50)):
        assert find_face_in(coordinates(), empty, detector, min_face=12) is None


def test_two_people_of_a_photo_are_two_crops(tmp_path: Path) -> None:
    settings = CropSettings(
        template=get_template("utkface"), size=40, quality=95, border="black", min_face=12, seed=0
    )  # fmt: skip
    path = tmp_path / "two.png"
    from PIL import Image

    Image.fromarray(coordinates()).save(path)
    boxes = [(20.0, 20.0, 60.0, 60.0), (150.0, 100.0, 190.0, 140.0)]
    face = FaceSample(path, 0, 30, "X")
    crops = [
        crop_face(replace(face, box=box), 0, settings=settings, detector=Fixed(boxes))
        for box in (*boxes, (220.0, 10.0, 240.0, 30.0))
    ]
    assert [crop.box for crop in crops] == [*boxes, ()]
    assert crops[0].body != crops[1].body
    assert (crops[2].reason, crops[2].detail) == (NO_FACE, "in the box 220 10 240 30")


def test_choices_reach_the_sources(tmp_path: Path) -> None:
    (tmp_path / "Adience").mkdir()
    config = PackConfig(root=str(tmp_path), adience="raw", adience_bins=12, min_face_score=3.0, appa_age="apparent")
    options = choose_sources(config)[0].options
    assert (options.adience_images, options.adience_bins, options.min_face_score) == ("raw", 12, 3.0)
    assert (options.appa_age, options.max_second_face) == ("apparent", 0.8)
    with pytest.raises(UsageError, match=r"--max_second_face 80\.0 is not within 0\.\.1"):
        choose_sources(PackConfig(root=str(tmp_path), max_second_face=80.0))


def test_a_packed_adience_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from agegender.app.cli import run_command
    from agegender.dataset.sources.synthetic import synthetic_sample

    header = "user_id\toriginal_image\tface_id\tage\tgender\tx\ty\tdx\tdy\ttilt_ang\tfiducial_yaw_angle\tfiducial_score"
    root = tmp_path / "data" / "Adience"
    (root / "aligned" / "u").mkdir(parents=True)
    ages = ["(0, 2)", "(25, 32)", "35", "None", "(38, 42)"]
    for fold, age in enumerate(ages):
        (root / f"fold_{fold}_data.txt").write_text(f"{header}\nu\t{fold}.jpg\t1\t{age}\tf" + "\t0" * 7 + "\n")
        image = synthetic_sample(fold, size=160).image
        assert image is not None
        (root / "aligned" / "u" / f"landmark_aligned_face.1.{fold}.jpg").write_bytes(encode_jpeg(image))
    arguments = ["--root", root.parent, "--output", tmp_path / "set", "--val_ratio", 0, "--workers", 1, "--lang", "en"]
    assert run_command("pack", list(map(str, arguments)), prog="create_dataset.py") == 0
    told = capsys.readouterr().out
    assert "Adience: 1 faces kept, single age left out" in told
    assert "Adience: 1 faces kept, odd bin put into its bin" in told
    with open(tmp_path / "set" / "train.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    with open_records(tmp_path / "set" / "train.rec") as records:
        labels = {row["fold"]: label for row, label in zip(rows, records.labels(5).tolist())}
    wanted = {"0": [0, 1, 0, 2, -1], "1": [0, 28, 25, 32, -1], "2": [0, -1, -1, -1, -1], "4": [0, 40, 38, 43, -1]}
    assert {fold: labels[fold] for fold in wanted if fold in labels} == {
        fold: label for fold, label in wanted.items() if fold in labels
    }
    assert len(labels) >= 3
