"""Heads reg and bins: their outputs are what the formulas say, on every network that has them."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

import symbols
from agegender.age_bins import ADIENCE_8 as SCHEME
from symbols import heads
from symbols.lazy import mx

BINS = ((0, 9), (10, 19), (20, 100))
IMAGES = [name for name, network in symbols.NETWORKS.items() if network.image]


def run(symbol: Any, shape: tuple[int, ...], *, weight: float = 0.3) -> dict[str, np.ndarray]:
    """Return outputs and internals of a symbol whose parameters are random, by name."""
    inner = symbol.get_internals()
    executor = inner.simple_bind(mx.cpu(), grad_req="null", data=shape)
    rng = np.random.default_rng(0)
    for array in executor.arg_dict.values():
        array[:] = rng.normal(0, weight, array.shape)
    executor.forward(is_train=False)
    return {name: output.asnumpy() for name, output in zip(inner.list_outputs(), executor.outputs, strict=True)}


def feature() -> Any:
    return mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=6, name="fc1")


def test_reg_is_a_linear_unit_in_years_from_35_on() -> None:
    symbol = heads.attach("reg", feature())
    assert symbol.list_outputs() == ["fc1_output", "gender_softmax_output", "age_output"]
    found = run(symbol, (5, 4))
    linear = found["fc1_output"] @ found["age_linear_weight"].T + found["age_linear_bias"]
    np.testing.assert_allclose(found["age_output"], 35 + 3 * linear, rtol=1e-5)
    np.testing.assert_allclose(run(symbol, (5, 4), weight=0.0)["age_output"], 35)


def test_the_age_of_bins_is_the_expectation_of_their_middles() -> None:
    symbol = heads.attach("bins", feature(), age_bins=BINS)
    assert symbol.list_outputs() == ["fc1_output", "gender_softmax_output", "age_softmax_output", "age_output"]
    found = run(symbol, (5, 4))
    probability = found["age_softmax_output"]
    assert probability.shape == (5, 3)
    np.testing.assert_allclose(probability.sum(axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(found["age_output"][:, 0], probability @ [4.5, 14.5, 60], rtol=1e-5)
    # What the answers read may be another feature than what is handed out.
    fc1 = feature()
    active = run(heads.attach("bins", fc1, mx.sym.relu(fc1, name="active"), age_bins=BINS), (5, 4))
    logits = active["active_output"] @ active["age_logits_weight"].T + active["age_logits_bias"]
    np.testing.assert_allclose(active["age_logits_output"], logits, rtol=1e-5)


def test_the_usual_bins_are_those_of_adience() -> None:
    assert heads.ADIENCE_8 == SCHEME


@pytest.mark.parametrize("network", IMAGES)
def test_every_network_of_images_has_them(network: str) -> None:
    entry = symbols.NETWORKS[network]
    for head in heads.COMMON:
        if head not in entry.heads:
            continue
        given = {"age_bins": BINS} if head == "bins" else {}
        symbol = symbols.build(network, head=head, **given)
        _, shapes, _ = symbol.infer_shape(data=(2, *entry.data_shape))
        found = dict(zip(symbol.list_outputs(), shapes, strict=True))
        assert found["age_output"] == (2, 1)
        assert found["gender_softmax_output"] == (2, 2)
        assert found.get("age_softmax_output") == {"dex": (2, 101), "reg": None, "bins": (2, 3)}[head]


@pytest.mark.parametrize("network", ["m50", "r50", "ssrnet", "mobilefacenet", "levi_hassner"])
def test_those_people_know_have_both(network: str) -> None:
    assert {"reg", "bins"} <= set(symbols.NETWORKS[network].heads)


def test_what_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match=re.escape("unknown head 'ssr' (dex, reg, bins)")):
        heads.attach("ssr", feature())
    with pytest.raises(ValueError, match="age_bins are for head 'bins', not for 'dex'"):
        symbols.build("m50", age_bins=BINS)
