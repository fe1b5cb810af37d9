"""Two-stage training: the backbone at a rate of its own, on both engines, and frozen."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agegender.engine import TrainConfig, train
from agegender.engine.backbone import find_backbone, with_still_norms
from agegender.errors import UsageError
from agegender.graph import Graph, builtin_json, load_checkpoint, load_states, read_info, states_path
from agegender.pipeline import LoaderConfig
from tests.engine.test_torch_training import assert_close, batches, both, plain

Configure = Callable[..., TrainConfig]
Build = Callable[..., str]
HEADS = {"fc1_weight", "fc1_bias", "gender_logits_weight", "gender_logits_bias", "age_logits_weight", "age_logits_bias"}
BELOW = {"conv1_weight", "conv1_bias", "bn1_gamma", "bn1_beta"}


@pytest.mark.quick
@pytest.mark.parametrize("name", ["r50", "m50", "ssrnet", "ssrnet-ssr"])
def test_all_below_fc1_is_the_backbone_of_every_network(name: str, configure: Configure) -> None:
    graph = Graph.from_json(builtin_json(name))
    backbone = find_backbone(builtin_json(name), configure(backbone_lr=0.5))
    above = {each for each in graph.arguments() if each not in backbone.parameters} - {"data"}
    heads = ("gender_logits_", "age_logits_", "age_stage", "pre_fc1_", "fc1_")
    assert above and all(each.startswith(heads) for each in above)
    assert not [each for each in backbone.parameters if each.startswith(heads)]
    assert {each.partition("_moving")[0] for each in backbone.states} <= {
        each.rpartition("_")[0] for each in backbone.parameters
    }


@pytest.mark.quick
def test_norms_of_a_frozen_backbone_use_their_statistics(configure: Configure) -> None:
    text = builtin_json("ssrnet")
    frozen = Graph.from_json(with_still_norms(text, find_backbone(text, configure(backbone_lr=0))))
    still = {node.name: node.attrs.get("use_global_stats") for node in frozen.nodes if node.op == "BatchNorm"}
    assert still.pop("fc1") is None
    assert len(still) == 8 and set(still.values()) == {"True"}
    assert with_still_norms(text, find_backbone(text, configure(backbone_lr=0.1))) == text


@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 0.02), ("nag", 0.02), ("adam", 0.002), ("rmsprop", 0.001)])
def test_twenty_steps_with_a_slow_backbone_end_alike_on_both_engines(
    make_network: Build, configure: Configure, optimizer: str, lr: float
) -> None:
    config = configure(optimizer=optimizer, lr=lr, wd=5e-4, age_loss="ce", backbone_lr=0.1)
    network = make_network(dropout=False, batch_norm=plain(optimizer))
    (_, expected), (_, states) = both(network, config, batches(20))
    # A momentum is the engine's own (see states.py).
    parameters = {name: array for name, array in expected.items() if not name.startswith("opt")}
    assert_close(parameters, {name: states[name] for name in parameters}, relative=1e-3)
    assert expected.keys() == states.keys()


@pytest.mark.parametrize("engine", ["mxnet", "torch"])
def test_one_step_of_sgd_moves_the_backbone_by_its_share(
    make_network: Build, configure: Configure, tmp_path: Path, engine: str
) -> None:
    """Without momentum a step is the rate times the same gradient, whatever the share is."""
    moved = {}
    network, start = make_network(), _started(make_network(), configure, tmp_path)
    for factor in (1.0, 0.1):
        changes: dict[str, Any] = {"optimizer": "sgd", "mom": 0.0, "batch_size": 72, "lr": 0.01, "end_epoch": 1}
        prefix = str(tmp_path / f"{factor}" / "model")
        config = configure(engine=engine, backbone_lr=factor, prefix=prefix, pretrained=start, **changes)
        train(config, LoaderConfig(rand_mirror=False), network_json=network)
        before, after = (load_checkpoint(*pair).params for pair in ((start.split(",")[0], 1), (prefix, 1)))
        moved[factor] = {name[4:]: after[name] - before[name] for name in before if name.startswith("arg:")}
    for name, whole in moved[1.0].items():
        share = 0.1 if name in BELOW else 1.0
        np.testing.assert_allclose(moved[0.1][name], share * whole, rtol=0.02, atol=2e-6, err_msg=name)
    assert np.abs(moved[1.0]["conv1_weight"]).max() > 1e-4


@pytest.mark.parametrize("engine", ["mxnet", "torch"])
def test_a_frozen_backbone_stays_to_the_bit_while_the_heads_learn(
    make_network: Build, configure: Configure, tmp_path: Path, engine: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, logger="agegender")
    start = _started(make_network(), configure, tmp_path)
    config = configure(engine=engine, backbone_lr=0, pretrained=start)
    train(config, LoaderConfig(), network_json=make_network())
    before, after = load_checkpoint(start.split(",")[0], 1).params, load_checkpoint(config.checkpoint_prefix, 2).params
    same = {name[4:] for name in before if np.array_equal(before[name], after[name])}
    assert same == BELOW | {"bn1_moving_mean", "bn1_moving_var"}
    assert "backbone_lr 0: the 4 parameters below fc1 and BatchNorm's statistics stay as they are" in caplog.messages
    # What is saved is the network as it was, not as it was trained.
    assert "use_global_stats" not in (config.checkpoint_prefix.parent / "model-symbol.json").read_text()


def test_twenty_steps_with_a_frozen_backbone_end_alike_on_both_engines(
    make_network: Build, configure: Configure
) -> None:
    config = configure(optimizer="sgd", lr=0.02, age_loss="ce", backbone_lr=0.0)
    (_, expected), (_, states) = both(make_network(dropout=False), config, batches(20))
    parameters = {name: array for name, array in expected.items() if not name.startswith("opt")}
    assert_close(parameters, {name: states[name] for name in parameters}, relative=1e-3)
    assert {name[5:] for name in expected if name.startswith("opt0:")} == HEADS
    assert expected.keys() == states.keys()


def test_resume_repeats_the_rate_that_the_run_was_begun_with(
    make_network: Build, configure: Configure, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network = make_network()
    ended = {}
    for name, ends in (("whole", (3,)), ("parts", (1, 3))):
        prefix = tmp_path / name / "model"
        for end in ends:
            again = end != ends[0]
            config = configure(optimizer="sgd", end_epoch=end, prefix=str(prefix), resume=again)
            # Said once, not again.
            train(config if again else replace(config, backbone_lr=0.1), LoaderConfig(), network_json=network)
        ended[name], _ = load_states(states_path(prefix, 3))
        info = read_info(prefix)
        assert info is not None and info.config["backbone_lr"] == 0.1
    for name, array in ended["whole"].items():
        np.testing.assert_array_equal(ended["parts"][name], array, err_msg=name)
    assert not [text for text in caplog.messages if text.startswith("--backbone_lr was")]


@pytest.mark.parametrize("order", [("mxnet", "torch"), ("torch", "mxnet")])
def test_a_run_with_a_slow_backbone_goes_over_to_the_other_engine(
    make_network: Build, configure: Configure, tmp_path: Path, order: tuple[str, str]
) -> None:
    """The momentum of the backbone is converted with its own rate: with the heads' it would be ten times as large."""
    network, start = make_network(dropout=False), _started(make_network(dropout=False), configure, tmp_path)
    ended = {}
    for name, engines in (("alone", (order[1], order[1])), ("over", order)):
        prefix = str(tmp_path / name / "model")
        common: dict[str, Any] = {"prefix": prefix, "optimizer": "sgd", "lr": 0.01, "age_loss": "ce"}
        train(
            configure(**common, engine=engines[0], end_epoch=1, backbone_lr=0.1, pretrained=start),
            LoaderConfig(),
            network_json=network,
        )
        train(configure(**common, engine=engines[1], end_epoch=2, resume=True), LoaderConfig(), network_json=network)
        ended[name], _ = load_states(states_path(prefix, 2))
    momenta = {name: array for name, array in ended["alone"].items() if name.startswith("opt0:")}
    assert {name[5:] for name in momenta} == BELOW | HEADS
    assert_close(momenta, {name: ended["over"][name] for name in momenta}, relative=2e-2)


@pytest.mark.parametrize(("begun", "now"), [(0.0, 0.1), (0.1, 0.0)])
def test_what_is_frozen_can_not_be_set_free_by_resuming(
    make_network: Build, configure: Configure, begun: float, now: float
) -> None:
    train(configure(end_epoch=1, backbone_lr=begun), LoaderConfig(), network_json=make_network())
    with pytest.raises(UsageError, match=rf"backbone_lr {now:g}: this run was begun with {begun:g}, and what is froz"):
        train(configure(backbone_lr=now, resume=True), LoaderConfig(), network_json=make_network())


def test_values_out_of_range_and_nets_without_a_backbone(configure: Configure) -> None:
    with pytest.raises(UsageError, match=r"backbone_lr 1\.5 is not within 0\.\.1"):
        configure(backbone_lr=1.5)
    from agegender.executor.mxnet_runtime import load_mxnet

    mx = load_mxnet()
    fc1 = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=4, name="fc1")
    with pytest.raises(UsageError, match=r"backbone_lr 0\.1: the network tiny has no parameters below fc1"):
        find_backbone(fc1.tojson(), configure(backbone_lr=0.1))


def _started(network: str, configure: Configure, folder: Path) -> str:
    """Train one epoch to start from; return it as --pretrained takes it."""
    prefix = folder / "start" / "model"
    train(configure(prefix=str(prefix), end_epoch=1), LoaderConfig(), network_json=network)
    return f"{prefix},1"
