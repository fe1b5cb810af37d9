"""What outputs mean: ours, and those of old nets, against values worked out by hand."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from agegender.errors import CheckpointError, UsageError
from agegender.readout import WHOLE_YEARS, Part, Readout
from agegender.readout_finder import ReadoutFinder

pytestmark = pytest.mark.quick

EMBEDDING = np.array([[1, 2, 3], [4, 5, 6]], np.float32)


def one_hot(ages: list[int], width: int = 101) -> np.ndarray:
    return np.eye(width, dtype=np.float32)[ages]


def ours() -> dict[str, np.ndarray]:
    """Two faces as our dex nets tell them: a woman of 20 or 30, a man of 40."""
    return {
        "fc1_output": EMBEDDING,
        "gender_softmax_output": np.array([[0.9, 0.1], [0.25, 0.75]], np.float32),
        "age_softmax_output": np.stack([0.5 * one_hot([20])[0] + 0.5 * one_hot([30])[0], one_hot([40])[0]]),
        "age_output": np.array([[25.0], [40.0]], np.float32),
    }


def ordinal_logits(yes: list[int], *, gender: tuple[float, float] = (0, 0), count: int = 100) -> np.ndarray:
    """(n, 2 + 2 * count): the first ``yes`` questions are answered with yes, by logits 5 against 0."""
    rows = []
    for age in yes:
        pairs = np.zeros((count, 2), np.float32)
        pairs[:age, 1] = 5
        pairs[age:, 0] = 5
        rows.append(np.concatenate([np.array(gender, np.float32), pairs.reshape(-1)]))
    return np.stack(rows)


def test_our_own_outputs_pass_through() -> None:
    outputs = ours()
    reading = Readout.of_model({}, head="dex", task="both").read(outputs)
    assert np.array_equal(reading.gender, outputs["gender_softmax_output"])
    assert np.array_equal(reading.distribution, outputs["age_softmax_output"])
    assert np.array_equal(reading.embedding, EMBEDDING)
    assert reading.age.tolist() == [25, 40]
    # The interval comes with the calibration, the doubt with Monte Carlo dropout.
    assert (reading.interval, reading.doubt) == (None, None)
    assert {array.dtype for array in vars(reading).values() if array is not None} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("task", "silent"), [("age", {"gender"}), ("gender", {"age", "distribution"}), ("both", set())]
)
def test_our_untrained_heads_say_nothing(task: str, silent: set[str]) -> None:
    readout = Readout.of_model({}, head="dex", task=task)
    nothing = {name for name, value in vars(readout.read(ours())).items() if value is None}
    assert nothing == silent | {"interval", "doubt", "plain"}
    assert (readout.task, readout.tells_age, readout.tells_gender) == (task, task != "gender", task != "age")


def test_our_head_ssr_has_no_distribution() -> None:
    outputs = ours()
    del outputs["age_softmax_output"], outputs["fc1_output"]
    reading = Readout.of_model({}, head="ssr", task="both").read(outputs)
    assert reading.age.tolist() == [25, 40]
    assert (reading.distribution, reading.embedding) == (None, None)


def test_our_head_reg_has_an_age_from_0_on() -> None:
    outputs = {name: array for name, array in ours().items() if name != "age_softmax_output"}
    reading = Readout.of_model({}, head="reg", task="both").read(outputs | {"age_output": np.array([[-3], [110.5]])})
    assert reading.age.tolist() == [0, 110.5]
    assert reading.distribution is None


def test_our_head_bins_spreads_its_bins_evenly_over_their_years() -> None:
    outputs = ours() | {"age_softmax_output": np.array([[0.25, 0.5, 0.25], [0, 0, 1]], np.float32)}
    outputs["age_output"] = np.array([[0.25 * 1 + 0.5 * 5.5 + 0.25 * 80], [80]], np.float32)
    readout = Readout.of_model({}, head="bins", task="both", age_bins=[[0, 2], [4, 7], [60, 100]])
    assert readout.age_bins == (1, 5.5, 80)
    reading = readout.read(outputs)
    assert np.allclose(
        reading.distribution[0, [0, 2, 3, 4, 7, 8, 60, 100]], [1 / 12, 1 / 12, 0, 1 / 8, 1 / 8, 0] + [0.25 / 41] * 2
    )
    assert np.allclose(reading.distribution @ np.arange(101), reading.age, atol=1e-4)
    assert np.allclose(reading.distribution.sum(axis=1), 1, atol=1e-6)
    # Written down and read again, it is the same.
    again = Readout.from_json(readout.to_json())
    assert again == readout
    assert readout.to_json()["age_bins"] == [[0, 2], [4, 7], [60, 100]]


def test_bins_reach_beyond_100_as_100() -> None:
    readout = Readout.of_model({}, head="bins", task="age", age_bins=[[0, 98], [99, 120]])
    reading = readout.read({"age_softmax_output": np.array([[0, 1]], np.float32), "age_output": np.array([[109.5]])})
    assert reading.distribution[0, 99:].tolist() == pytest.approx([1 / 22, 21 / 22])


@pytest.mark.parametrize(
    ("bins", "message"),
    [
        (None, "age_bins is None, and head 'bins' has first and last years of bins there"),
        ([1.0, 5.0], "age_bins is [1.0, 5.0], and head 'bins' has first"),
        ([[0, 5], [3, 9]], "age_bins: 3-9 does not lie above 0-5"),
    ],
)
def test_head_bins_without_its_bins(bins: Any, message: str) -> None:
    with pytest.raises(UsageError) as error:
        Readout.of_model({}, head="bins", task="both", age_bins=bins)
    assert str(error.value).startswith(message)


def test_what_is_missing_is_named() -> None:
    outputs = ours()
    del outputs["age_output"]
    with pytest.raises(CheckpointError) as error:
        Readout.of_model({}, head="dex", task="both").read(outputs)
    assert str(error.value) == (
        "the net has no output 'age_output' (its outputs: fc1_output, gender_softmax_output, age_softmax_output)"
    )


@pytest.mark.parametrize(
    ("head", "task", "message"),
    [
        ("softmax", "both", "head is 'softmax' (dex, ssr, reg, bins)"),
        ("dex", "smile", "task is 'smile' (both, age, gender)"),
    ],
)
def test_a_model_that_is_neither_ours_nor_described(head: str, task: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        Readout.of_model({}, head=head, task=task)
    assert str(error.value).startswith(message)


# Ordinal: 2 gender logits, then 100 pairs (no, yes).


def test_ordinal_counts_the_yes() -> None:
    readout = ReadoutFinder({"fc1_output": ordinal_logits([0, 31, 100], gender=(0, np.log(3)))}).find("ordinal")
    assert readout.gender == Part(("fc1_output",), "logits", (0, 2))
    assert readout.age == Part(("fc1_output",), "logits", (2, 202))
    reading = readout.read({"fc1_output": ordinal_logits([0, 31, 100], gender=(0, np.log(3)))})
    assert reading.age.tolist() == [0, 31, 100]
    assert np.allclose(reading.gender, [[0.25, 0.75]] * 3, atol=1e-6)
    yes = 1 / (1 + np.exp(-5))
    # P(age = 31) = P(older than 30) - P(older than 31).
    assert reading.distribution[1, 31] == pytest.approx(yes - (1 - yes), abs=1e-6)
    assert reading.distribution.argmax(axis=1).tolist() == [0, 31, 100]


def test_ordinal_answers_that_contradict_one_another() -> None:
    """Older than 0? 0.2, older than 1? 0.9: the count stays, and so does the expected age, 1.1."""
    pairs = np.array([[[0.8, 0.2], [0.1, 0.9]]], np.float32)
    readout = Readout.from_json(
        {"layout": "ordinal", "age": {"outputs": ["a"], "form": "probabilities"}, "age_bins": [0, 1, 2]}
    )
    reading = readout.read({"a": pairs.reshape(1, 4)})
    assert reading.age.tolist() == [1]
    assert np.allclose(reading.distribution[0, :4], [0.1, 0.7, 0.2, 0], atol=1e-6)


@given(hnp.arrays(np.float32, (3, 200), elements=st.floats(-50, 50, width=32)))
def test_ordinal_distributions_are_distributions_with_the_soft_age_as_mean(logits: np.ndarray) -> None:
    readout = Readout.from_json({"layout": "ordinal", "age": {"outputs": ["a"], "form": "logits"}})
    reading = readout.read({"a": logits})
    pairs = logits.astype(np.float64).reshape(3, 100, 2)
    soft = (np.exp(pairs[..., 1]) / np.exp(pairs).sum(axis=2)).sum(axis=1)
    assert np.allclose(reading.distribution.sum(axis=1), 1, atol=1e-5)
    assert reading.distribution.min() >= 0
    assert np.allclose(reading.distribution.astype(np.float64) @ np.arange(101), soft, atol=1e-3)
    assert reading.age.tolist() == pairs.argmax(axis=2).sum(axis=1).tolist()


def test_ordinal_as_a_hundred_softmax_outputs() -> None:
    """As insightface trains it: gender first, then one output per question."""
    logits = ordinal_logits([17, 60], gender=(1, -1))
    exponents = np.exp(logits.reshape(2, 101, 2))
    softmax = exponents / exponents.sum(axis=2, keepdims=True)
    names = ["gender_softmax_output", *(f"age_softmax_{i}_output" for i in range(100))]
    outputs = {name: softmax[:, place] for place, name in enumerate(names)}
    readout = ReadoutFinder(outputs).find("ordinal")
    assert readout.gender == Part(("gender_softmax_output",), "probabilities")
    assert readout.age == Part(tuple(names[1:]), "probabilities")
    reading = readout.read(outputs)
    joined = ReadoutFinder({"fc1_output": logits}).find("ordinal").read({"fc1_output": logits})
    assert reading.age.tolist() == [17, 60]
    for one, other in ((reading.gender, joined.gender), (reading.distribution, joined.distribution)):
        assert np.allclose(one, other, atol=1e-6)


def test_ordinal_with_the_whole_of_it_beside_the_softmaxes() -> None:
    """insightface's training graph has both; the one output that holds everything is taken."""
    logits = ordinal_logits([17, 60])
    outputs = {f"s{i}_output": np.full((2, 2), 0.5, np.float32) for i in range(101)} | {"blockgrad0_output": logits}
    assert ReadoutFinder(outputs).find("ordinal").age == Part(("blockgrad0_output",), "logits", (2, 202))


def test_ordinal_softmax_over_axis_1() -> None:
    """A multi-output softmax: (n, 2, 100) with no and yes along axis 1."""
    pairs = ordinal_logits([3, 99])[:, 2:].reshape(2, 100, 2)
    outputs = {"gender_output": np.array([[0.5, 0.5], [1, 0]]), "age_output": pairs.transpose(0, 2, 1)}
    reading = ReadoutFinder(outputs).find("ordinal").read(outputs)
    assert reading.age.tolist() == [3, 99]
    assert reading.gender.tolist() == [[0.5, 0.5], [1, 0]]


# DEX: an age class per column.


def test_dex_of_others_by_widths() -> None:
    outputs = {
        "embedding_output": np.zeros((2, 512), np.float32),
        "prob_output": np.stack([0.25 * one_hot([10])[0] + 0.75 * one_hot([20])[0], one_hot([100])[0]]),
        "sex_output": np.array([[2.0, 2.0], [0.0, np.log(9)]], np.float32),
    }
    readout = ReadoutFinder(outputs, named={"embedding": "embedding_output"}, label_order="male,female").find("dex")
    assert readout.distribution == Part(("prob_output",), "probabilities")
    assert readout.gender == Part(("sex_output",), "logits")
    reading = readout.read(outputs)
    assert np.allclose(reading.age, [17.5, 100])
    assert np.allclose(reading.gender, [[0.5, 0.5], [0.9, 0.1]], atol=1e-6)
    assert reading.distribution[0, [10, 20]].tolist() == [0.25, 0.75]
    assert reading.embedding.shape == (2, 512)


def test_dex_of_a_hundred_classes_are_0_to_99_unless_told_otherwise() -> None:
    outputs = {"age_output": 20 * one_hot([99, 5], 100)}
    reading = ReadoutFinder(outputs).find("dex").read(outputs)
    assert np.allclose(reading.age, [99, 5], atol=1e-3)
    assert reading.distribution.shape == (2, 101)
    assert reading.distribution.argmax(axis=1).tolist() == [99, 5]
    assert reading.gender is None
    shifted = ReadoutFinder(outputs, age_bins=range(1, 101)).find("dex").read(outputs)
    assert shifted.distribution.argmax(axis=1).tolist() == [100, 6]


def test_dex_in_one_output_of_103_columns() -> None:
    outputs = {"fc1_output": np.concatenate([[[0, 0]], 30 * one_hot([47])], axis=1)}
    readout = ReadoutFinder(outputs).find("dex")
    assert (readout.gender, readout.distribution) == (
        Part(("fc1_output",), "logits", (0, 2)),
        Part(("fc1_output",), "logits", (2, 103)),
    )
    reading = readout.read(outputs)
    assert reading.age[0] == pytest.approx(47, abs=1e-3)
    assert reading.gender.tolist() == [[0.5, 0.5]]


def test_bins_between_whole_years_keep_their_mean() -> None:
    """Eight groups of ages, as Adience has them: the middle of each."""
    middles = [1, 5, 10, 17.5, 28.5, 40.5, 50.5, 80.25]
    outputs = {"prob_output": np.array([[0, 0, 0, 0.5, 0, 0, 0, 0.5]], np.float32)}
    reading = ReadoutFinder(outputs, age_bins=middles).find("dex").read(outputs)
    assert reading.age[0] == pytest.approx((17.5 + 80.25) / 2)
    found = {age: float(p) for age, p in enumerate(reading.distribution[0]) if p}
    assert found == pytest.approx({17: 0.25, 18: 0.25, 80: 0.375, 81: 0.125})
    assert reading.distribution[0] @ np.arange(101) == pytest.approx(reading.age[0])


def test_forms_can_be_told() -> None:
    """Logits that happen to look like probabilities."""
    outputs = {"a_output": np.array([[0.25, 0.75]], np.float32)}
    assert ReadoutFinder(outputs).find("dex").gender == Part(("a_output",), "probabilities")
    told = ReadoutFinder(outputs, forms={"gender": "logits"}).find("dex")
    assert told.read(outputs).gender[0, 1] == pytest.approx(1 / (1 + np.exp(-0.5)))


# SSR-Net: a number each.


def test_ssr_of_others() -> None:
    outputs = {"years_output": np.array([[0.25], [0.5]]), "sex_output": np.array([[0.9], [1.02]])}
    named = {"age": "years_output"}
    reading = ReadoutFinder(outputs, named=named, age_scale=100).find("ssr").read(outputs)
    assert reading.age.tolist() == [25, 50]
    # A regression may leave 0..1, a probability may not.
    assert np.allclose(reading.gender, [[0.1, 0.9], [0, 1]])
    assert reading.distribution is None
    swapped = ReadoutFinder(outputs, named=named, label_order="male,female").find("ssr").read(outputs)
    assert np.allclose(swapped.gender, [[0.9, 0.1], [1, 0]])


def test_ssr_with_a_gender_of_two_columns_or_a_logit() -> None:
    outputs = {"a_output": np.array([[33.0]]), "g_output": np.array([[0.25, 0.75]])}
    reading = ReadoutFinder(outputs).find("ssr").read(outputs)
    assert (reading.age.tolist(), reading.gender.tolist()) == ([33], [[0.25, 0.75]])
    outputs = {"a_output": np.array([[33.0]]), "g_output": np.array([[np.log(3)]])}
    finder = ReadoutFinder(outputs, named={"gender": "g_output"}, forms={"gender": "logits"})
    assert finder.find("ssr").read(outputs).gender[0, 1] == pytest.approx(0.75)


# What can't be decided, and what is wrong.

ZERO = {width: np.zeros((3, width), np.float32) for width in (1, 2, 7, 100, 101, 202)}


@pytest.mark.parametrize(
    ("layout", "widths", "flags", "message"),
    [
        (
            "dex",
            {"a": 101, "b": 100, "c": 2},
            {},
            "layout dex: a, b may be the age; outputs and their widths: a 101, b 100, c 2. --outputs age=NAME decides",
        ),
        ("dex", {"a": 101, "b": 2, "c": 2}, {}, "b, c may be the gender; outputs and their widths: a 101, b 2, c 2."),
        (
            "dex",
            {"a": 7},
            {},
            "no output fits layout dex: an age output with a column per age and a gender output with 2 columns; "
            "outputs and their widths: a 7. Another --head_layout, --outputs age=NAME or --age_bins decides",
        ),
        ("ssr", {"a": 1, "b": 1}, {}, "a, b may be the age; outputs and their widths: a 1, b 1. --outputs age=NAME"),
        ("ssr", {"a": 1}, {}, "layout ssr: a may be the age or the gender; outputs and their widths: a 1."),
        ("ssr", {"a": 1, "b": 1, "c": 1}, {"named": {"age": "a"}}, "b, c may be the gender;"),
        ("ordinal", {"a": 101}, {}, "no output fits layout ordinal: 202 columns, 2 of gender and 100 pairs"),
        ("dex", {"a": 7, "b": 2}, {}, "a gender output with 2 columns (b alone would do as gender); outputs and"),
        ("ordinal", {"a": 202, "b": 202}, {}, "layout ordinal: a, b may be the age;"),
        ("dex", {"a": 101}, {"named": {"age": "x"}}, "--outputs age=x: the net has no such output; outputs and"),
        ("dex", {"a": 7}, {"named": {"age": "a"}}, "--outputs age=a: it has 7 columns, layout dex wants 101 or 100"),
        ("dex", {"a": 7}, {"named": {"race": "a"}}, "--outputs race=...: what is said there is age, gender, embedding"),
        ("dex", {"a": 2}, {"forms": {"age": "odds"}}, "--forms age=odds: a form is one of probabilities, logits"),
        ("vgg", {"a": 2}, {}, "unknown layout 'vgg' (dex, ssr, ordinal)"),
    ],
)
def test_what_cannot_be_decided(layout: str, widths: dict[str, int], flags: Any, message: str) -> None:
    with pytest.raises(UsageError) as error:
        ReadoutFinder({name: ZERO[width] for name, width in widths.items()}, **flags).find(layout)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"layout": "vgg"}, "readout.layout is 'vgg' (dex, ssr, ordinal)"),
        ({"lable_order": "x"}, "readout has an unknown field 'lable_order' (layout, gender, age,"),
        ({"label_order": "m,f"}, "readout.label_order is 'm,f' (female,male or male,female)"),
        ({"embedding": 3}, "readout.embedding is 3, not the name of an output"),
        ({"gender": "g"}, "readout.gender is 'g', not an object with outputs and form"),
        ({"gender": {"outputs": "g", "form": "logits"}}, "readout.gender.outputs is 'g', not a list of names"),
        (
            {"gender": {"outputs": ["g"], "form": "odds"}},
            "readout.gender.form is 'odds' (probabilities, logits, number)",
        ),
        ({"gender": {"outputs": ["g"], "form": "logits", "column": 1}}, "readout.gender has an unknown field 'column'"),
        (
            {"gender": {"outputs": ["g"], "form": "logits", "columns": [2, 1]}},
            "readout.gender.columns is [2, 1], not [first, end]",
        ),
        ({"age": {"outputs": ["g"], "form": "number", "scale": 0}}, "readout.age.scale is 0, not a number above 0"),
        ({"age": {"outputs": ["g"], "form": "logits"}}, "readout.age.form is 'logits', but layout 'dex' has a number"),
        ({"gender": None}, "readout says neither where the age nor where the gender is"),
        ({"age_bins": [3, 2]}, "readout.age_bins has 2 ages; at least 2 that rise within 0..120 are needed"),
        ({"age_bins": [0, "1"]}, "readout.age_bins is [0, '1'], not a list of ages in years"),
        ({"distribution": {"outputs": ["a"], "form": "number"}}, "readout.distribution.form is 'number'"),
        (
            {"layout": "ordinal", "age": {"outputs": ["a"], "form": "number"}},
            "readout.age.form is 'number', but layout 'ordinal' has probabilities or logits",
        ),
        (
            {"layout": "ordinal", "distribution": {"outputs": ["a"], "form": "logits"}},
            "readout.distribution is given, but with layout 'ordinal' it follows from age",
        ),
    ],
)
def test_a_wrong_description_names_the_field(change: dict[str, Any], message: str) -> None:
    document = {"layout": "dex", "gender": {"outputs": ["g_output"], "form": "logits"}, **change}
    with pytest.raises(UsageError) as error:
        Readout.from_json(document)
    assert message in str(error.value)


def test_descriptions_survive_json() -> None:
    readout = Readout(
        "dex",
        gender=Part(("a", "b"), "logits", (0, 2)),
        age=Part(("c",), "number", scale=100.0),
        distribution=Part(("d",), "probabilities"),
        embedding="e",
        label_order="male,female",
        age_bins=(0.0, 17.5, 40.0),
    )
    assert Readout.from_json(json.loads(json.dumps(readout.to_json()))) == readout
    plain = Readout.of_model({}, head="dex", task="both")
    assert Readout.of_model(plain.to_json(), head="", task="") == plain
    assert plain.age_bins == WHOLE_YEARS


def test_other_widths_than_described() -> None:
    readout = ReadoutFinder({"a": ZERO[101], "g": ZERO[2]}).find("dex")
    with pytest.raises(CheckpointError, match=r"^output a has 100 columns, the readout \(dex\) wants 101$"):
        readout.read({"a": ZERO[100], "g": ZERO[2]})
    ordinal = ReadoutFinder({"a": ZERO[202]}).find("ordinal")
    with pytest.raises(CheckpointError, match=r"^output a has 101 columns, the readout wants 2 to 201$"):
        ordinal.read({"a": ZERO[101]})
