"""Networks cut down to one output: what is left, what it computes, and how many parameters that are."""

from __future__ import annotations

import math

import numpy as np
import pytest

pytest.importorskip("torch", reason="PyTorch is not installed")

from agegender.errors import UsageError
from agegender.executor.torch_executor import TorchExecutor
from agegender.executor.torch_shapes import parameter_shapes
from agegender.graph import Graph, builtin_defaults, builtin_json
from agegender.graph.learned import learned_graph
from tests.executor.oracle import images, random_params

AGE, GENDER = "age_output", "gender_softmax_output"
LEARNED = {"age": {"fc1_output", "age_softmax_output", AGE}, "gender": {"fc1_output", GENDER}}


@pytest.mark.parametrize("task", ["age", "gender"])
@pytest.mark.parametrize("network", builtin_defaults())
def test_every_network_can_have_one_output(network: str, task: str) -> None:
    text = builtin_json(network)
    whole, cut = Graph.from_json(text), Graph.from_json(learned_graph(text, task))
    assert set(cut.outputs()) == LEARNED[task] & set(whole.outputs())
    other = {"age": "gender_", "gender": "age_"}[task]
    assert not [node.name for node in cut.nodes if node.name.startswith(other)]
    gone = set(whole.parameters()) - set(cut.parameters())
    assert gone and all(name.startswith(f"arg:{other}") for name in gone)
    assert cut.to_json() == learned_graph(cut.to_json(), task)
    assert learned_graph(text, "both") == text


@pytest.mark.parametrize("task", ["age", "gender"])
@pytest.mark.parametrize("name", ["ssrnet", "ssrnet-ssr"])
def test_what_is_left_computes_what_it_did(name: str, task: str) -> None:
    text = builtin_json(name)
    whole, cut = Graph.from_json(text), Graph.from_json(learned_graph(text, task))
    params = random_params(whole, (3, 64, 64))
    full, single = (TorchExecutor(graph, params).forward(images(3, 64)) for graph in (whole, cut))
    for output in cut.outputs():
        np.testing.assert_array_equal(single[output], full[output])


def counts(head: str, task: str) -> tuple[int, int]:
    """Return how many numbers of ssrnet are learned, and how many are BatchNorm's statistics."""
    text = builtin_json("ssrnet" if head == "dex" else f"ssrnet-{head}")
    shapes = parameter_shapes(Graph.from_json(learned_graph(text, task)), (3, 64, 64))
    sizes = {name: math.prod(shape) for name, shape in shapes.items()}
    learned = sum(size for name, size in sizes.items() if name.startswith("arg:"))
    return learned, sum(sizes.values()) - learned


def authors_count() -> int:
    """Return the size of the authors' network, from its layers: unpadded convolutions with biases, on 64x64."""
    total = 0
    for channels in (32, 16):
        total += (3 * 9 + 1) * channels + 3 * (channels * 9 + 1) * channels
        total += 4 * 4 * channels  # BatchNorm: two learned, two kept
    # Pooled to 4x4 in the deepest stage, and to 3x3 in the other two.
    for side in (4, 3, 3):
        features = 10 * side * side
        total += (32 + 1) * 10 + (16 + 1) * 10  # 1x1 convolutions
        total += 2 * (features + 1) * 3  # three numbers of each stream
        total += features + 1  # delta, from the product of all
        total += (3 + 1) * 6 + 2 * (6 + 1) * 3  # six of the product of the three; probabilities and shifts
    return total


def test_ssrnet_with_one_output_beside_the_papers() -> None:
    assert authors_count() == 40_915
    learned, kept = counts("ssr", "age")
    assert (learned, kept) == (44_253, 384)
    # Streams and 1x1 convolutions are the same but for the biases that BatchNorm takes the place of.
    biases = 4 * (32 + 16)
    # Each of our stages reads 160 features of the product by 12 numbers, where the authors' reads three of each stream.
    ours = 3 * ((160 + 1) * 12 + 2 * (12 + 1) * 3 + 160 + 1)
    theirs = sum(2 * (f + 1) * 3 + f + 1 + 4 * 6 + 2 * 7 * 3 for f in (160, 90, 90))
    assert learned + kept - authors_count() == ours - theirs - biases == 3_722


@pytest.mark.parametrize(
    ("head", "task", "learned"),
    [
        ("dex", "both", 94_679),
        ("dex", "age", 94_549),
        ("dex", "gender", 88_114),
        ("ssr", "both", 75_295),
        ("ssr", "age", 44_253),
        ("ssr", "gender", 68_782),
    ],
)
def test_sizes_of_ssrnet(head: str, task: str, learned: int) -> None:
    assert counts(head, task) == (learned, 384 if (head, task) == ("ssr", "age") else 512)


def test_an_embedding_that_the_head_does_not_read_goes() -> None:
    """Stagewise regression reads the streams themselves: no loss of the age would reach fc1."""
    cut = Graph.from_json(learned_graph(builtin_json("ssrnet-ssr"), "age"))
    assert cut.outputs() == [AGE]
    assert not [name for name in cut.parameters() if "fc1" in name]
    assert "Dropout" not in cut.operators()
    assert "fc1_output" in Graph.from_json(learned_graph(builtin_json("ssrnet-ssr"), "gender")).outputs()


def test_a_network_without_the_head() -> None:
    age = learned_graph(builtin_json("ssrnet"), "age")
    with pytest.raises(UsageError, match=r"task 'gender': the network has no output gender_\.\.\. .*age_output\)"):
        learned_graph(age, "gender")
