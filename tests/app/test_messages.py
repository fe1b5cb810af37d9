"""The tables of messages and the choice of a language."""

from __future__ import annotations

import string
from pathlib import Path

import pytest

from agegender.app.messages import TEXTS, language, model_line, say
from agegender.errors import UsageError
from agegender.graph import ModelOrigin, ModelRef

pytestmark = pytest.mark.quick


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"LANG": "zh_CN.UTF-8"}, "zh"),
        ({"LANG": "de_DE.UTF-8"}, "en"),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_TW"}, "zh"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "C"}, "en"),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": ""}, "zh"),
    ],
)
def test_the_locale_chooses(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: str) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert language() == expected


def test_without_variables_the_systems_locale_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("locale.getlocale", lambda: ("Chinese (Simplified)_China", "936"))
    assert language() == "zh"
    monkeypatch.setattr("locale.getlocale", lambda: (None, None))
    assert language() == "en"


def test_the_flag_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "zh_CN.UTF-8")
    assert language("en") == "en"
    with pytest.raises(UsageError, match=r"unknown language 'fr' \(en, zh\)"):
        language("fr")


def test_both_languages_say_the_same_things() -> None:
    assert TEXTS["en"].keys() == TEXTS["zh"].keys()
    for key, english in TEXTS["en"].items():
        # A translation may leave a value out (the lines of older programs are kept), but never ask for another.
        assert _fields(TEXTS["zh"][key]) <= _fields(english), key


def test_lines_that_people_know() -> None:
    assert (
        say("face", "zh", number=1, box="160, 32, 204, 84", gender="男", age=30)
        == "第1张人脸，位置(160, 32, 204, 84), 性别：男, 年龄：30"
    )
    assert (
        say("face", "en", number=1, box="160, 32, 204, 84", gender="male", age=30)
        == "face 1: box (160, 32, 204, 84), gender: male, age: 30"
    )
    assert say("acc", "zh", value=0.972868, n=3) == "性别准确率：0.972868"
    assert say("within3", "zh", value=0.7616279, n=3) == "年龄准确率：0.761628"


@pytest.mark.parametrize(
    ("origin", "english", "chinese"),
    [
        (ModelOrigin(kind="path", place="old/model"), "the path old/model", "路径old/model"),
        (ModelOrigin(kind="name", name="m50", place="models"), "the model 'm50' in models", "models中的模型'm50'"),
        (ModelOrigin(kind="run", place="runs"), "the newest run in runs", "runs中最新的训练结果"),
        (ModelOrigin(kind="shipped", name="ssrnet"), "the shipped model 'ssrnet'", "自带的模型'ssrnet'"),
    ],
)
def test_why_it_is_this_model(origin: ModelOrigin, english: str, chinese: str) -> None:
    model = ModelRef(Path("a/model"), None, origin)
    assert model_line(model, "en", prefix=model.prefix, epoch=7) == f"model: a/model, epoch 7 ({english})"
    assert model_line(model, "zh", prefix=model.prefix, epoch=7) == f"模型：a/model，第7轮（{chinese}）"


def _fields(text: str) -> set[str | None]:
    return {name for _, name, _, _ in string.Formatter().parse(text)} - {None}
