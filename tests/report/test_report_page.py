"""The page says what the numbers say, in words, whatever is known of the set."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from agegender.report import Picture, Worst, about_lines, render, report_numbers
from agegender.report.about import _PAIRS as ABOUT
from agegender.report.faces import Faces
from agegender.report.texts import TEXTS
from tests.report.made_faces import make_faces, random_faces

FACTS: dict[str, Any] = {
    "model": {"name": "m50", "epoch": 1, "sha256": {"m50-0001.params": "ab12"}, "learned_from_sibling": True,
              "temperature": 1.25},
    "data": {"path": "dataset/test.rec", "list": False, "sha256": {"test.rec": "cd34"}, "split": "test",
             "split_rule": {"val_ratio": 0.05, "test_ratio": 0.0, "seed": 0}},
    "subjects": {"n": 10, "known": 0, "people": 0, "compared": [], "shared": 0},
    "left_out": {"not_found": 0, "skipped": 0},
    "speed": {"faces": 10, "seconds": 2.0, "engine": "mxnet", "flip": False},
    "command": "python eval.py --model m50",
    "versions": {"agegender": "0.1.0", "Python": "3.11.0"},
}  # fmt: skip


def page(faces: Faces, *, lang: str = "en", **more: Any) -> str:
    return render(faces, report_numbers(faces, resamples=60), [("model", "<b>")], lang=lang, **more)


ODD = {
    "no face": make_faces(0),
    "one face without a label": make_faces(1, predicted=[30.0]),
    "one face": make_faces(1, age=[20], predicted=[30.0]),
    "no ages": make_faces(40, gender=[0, 1] * 20, male=[0.2, 0.7] * 20, predicted=[30.0] * 40),
    "no genders": make_faces(40, age=[20] * 40, predicted=[30.0] * 40, male=[0.4] * 40),
    "only women": make_faces(40, gender=[0] * 40, male=[0.2] * 40),
    "a net for gender": make_faces(40, age=[20] * 40, gender=[0, 1] * 20, male=[0.2, 0.7] * 20),
    "bins": make_faces(40, low=[0, 10] * 20, high=[5, 20] * 20, predicted=[4.0] * 40),
    "numbers that are none": make_faces(3, age=[1, 2, 3], predicted=[1, np.nan, np.inf]),
    "no groups": random_faces(200, group=[""] * 200, source=[""] * 200),
}


@pytest.mark.parametrize("lang", ["en", "zh"])
@pytest.mark.parametrize("name", ODD)
def test_odd_sets_make_a_page_without_nan_or_anything_from_outside(name: str, lang: str) -> None:
    text = page(ODD[name], lang=lang)
    assert not re.search(r"\b(nan|inf|None)\b", re.sub(r"base64,[^\"]*", "", text))
    assert not re.search(r'(src|href)="(?!data:)', text)
    assert "&lt;b&gt;" in text


def test_figures_stand_with_n_and_interval_and_few_faces_are_marked() -> None:
    faces = random_faces(200)
    text, numbers = page(faces), report_numbers(faces, resamples=60)
    mae = numbers["overall"]["mae"]
    assert f">{mae['value']:.2f}<" in text
    assert f"{mae['low']:.2f} … {mae['high']:.2f}" in text
    assert "* fewer than 30 faces" in text
    by = numbers["by"]["age"]["90-100"]["mae"]
    assert by["n"] < 30
    assert f'<span class="few">{by["value"]:.2f}*</span>' in text
    assert "(of the decades with at least 30 faces)" not in text  # 20 of each: none has enough
    assert "White (0)" in text
    assert "female, Black (1)" in text


def test_the_line_about_the_worst_decade_says_what_it_compares() -> None:
    age = [5] * 40 + [55] * 40 + [95] * 5
    faces = make_faces(85, age=age, predicted=[6.0] * 40 + [60.0] * 40 + [50.0] * 5)
    assert "furthest off at 50-59: 5.0 years on average, over 40 faces (of the decades with at least 30" in page(faces)


def test_what_is_known_of_bins_only_is_shown_as_bins() -> None:
    text = page(ODD["bins"])
    assert "The age is in the right bin for 50.0%" in text
    assert "True bin (rows) and estimated one (columns)" in text
    assert "By true age" not in text
    assert "(MAE)" not in text


def test_sets_by_size_and_score() -> None:
    faces = random_faces(80, box=["0 0 50 50", "0 0 300 300"] * 40, score=[0.9, 0.99] * 40)
    text = page(faces)
    assert "By face size (pixels" in text
    assert ">32-63<" in text
    assert "By detection score" in text
    assert ">0.9-0.99<" in text


@pytest.mark.parametrize("kind", ["worst", "worst_gender"])
def test_the_worst_faces_are_pictures(kind: str) -> None:
    worst = Worst(kind=kind, pictures=[Picture(caption="5 → 40", alt="7 a.jpg: 5 → 40", jpeg=b"\xff\xd8")])
    text = page(random_faces(40), worst=worst)
    assert '<img src="data:image/jpeg;base64,/9g=" alt="7 a.jpg: 5 → 40"' in text
    assert TEXTS["en"][f"{kind}_how"] in text


def test_both_languages_say_the_same_things_and_fill_in_the_same_figures() -> None:
    for table in ({key: (TEXTS["en"][key], TEXTS["zh"][key]) for key in TEXTS["en"]}, ABOUT):
        for name, (english, chinese) in table.items():
            fields = [set(re.findall(r"{(\w+)", text)) for text in (english, chinese)]
            assert fields[0] == fields[1], name
    assert "平均误差" in page(random_faces(40), lang="zh")


def test_how_it_was_made_is_said_in_words() -> None:
    assert dict(about_lines(FACTS, "en")) == {
        "model": "m50, epoch 1; SHA-256 of m50-0001.params: ab12",
        "data": "dataset/test.rec, 10 faces scored; SHA-256 of test.rec: cd34",
        "split": "test: only faces for which their source or list names this part; none was drawn",
        "subjects": "image-level split: subjects may appear on both sides (whose face is whose is not known)",
        "training data": "the train.rec beside this set (same SHA-256)",
        "calibration": "as stored with the model, gender temperature 1.250",
        "speed": "10 faces in 2.0 s, 5 a second, reading and decoding included, on mxnet; one run beside whatever else "
        "this machine did, no benchmark",
        "command": "python eval.py --model m50",
        "versions": "agegender 0.1.0, Python 3.11.0",
    }  # fmt: skip
    chinese = about_lines(FACTS, "zh")
    assert [label for label, _ in chinese][:4] == ["模型", "数据", "划分", "人物"]
    assert "一次运行" in chinese[6][1]


@pytest.mark.parametrize(
    ("subjects", "said"),
    [
        ({"known": 4, "people": 2}, "4 of 10 faces have a subject; people of the others may appear on both sides; "),
        ({"known": 10, "people": 3}, "every face is known (3 people); the other parts of the set are not there"),
        (
            {"known": 10, "people": 3, "compared": ["train.csv"]},
            "none of these people is in train.csv: subjects are ex",
        ),
        (
            {"known": 10, "people": 3, "compared": ["train.csv", "val.csv"], "shared": 2},
            "2 of these people are in train.csv, val.csv too: the figures flatter",
        ),
    ],
)
def test_whether_subjects_are_exclusive(subjects: dict[str, Any], said: str) -> None:
    facts = {**FACTS, "subjects": {**FACTS["subjects"], **subjects}}
    assert said in dict(about_lines(facts, "en"))["subjects"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"list": True}, "a list file: what is on it was its author's choice"),
        ({"split_rule": {}}, "the records do not say how they were divided"),
        ({"split": "val"}, "and 5.0% of all others, drawn by seeded hashes (seed 0)"),
        ({"split": "train"}, "and all that were not drawn for val or test (seed 0)"),
    ],
)
def test_the_split_rule_in_words(data: dict[str, Any], said: str) -> None:
    assert said in dict(about_lines({**FACTS, "data": {**FACTS["data"], **data}}, "en"))["split"]
