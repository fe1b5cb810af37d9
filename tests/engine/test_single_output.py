"""A network that learns one task has one output from the first step on: on both engines, resumed, begun from others."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agegender.engine import TrainConfig, train
from agegender.engine.backbone import find_backbone
from agegender.errors import UsageError
from agegender.executor import open_executor
from agegender.graph import builtin_json, load_checkpoint, load_states, read_info, states_path
from agegender.graph.learned import learned_graph
from agegender.pipeline import LoaderConfig
from tests.engine.test_torch_training import batches, both

Configure = Callable[..., TrainConfig]
Build = Callable[..., str]
TASKS = ("age", "gender")
OTHER = {"age": "gender", "gender": "age"}


@pytest.mark.parametrize("task", TASKS)
def test_single_networks_move_alike_on_both_engines(make_network: Build, configure: Configure, task: str) -> None:
    config = configure(task=task, optimizer="sgd", lr=0.01)
    network = learned_graph(make_network(dropout=False), task)
    (expected, ended), (results, states) = both(network, config, batches(3))
    silent = 1 if task == "age" else 2
    for ours, theirs in zip(results, expected, strict=True):
        assert ours[silent] is None and theirs[silent] is None
        for one, other in zip(ours, theirs, strict=True):
            if one is not None:
                np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-4)
    assert ended.keys() == states.keys() and not [name for name in states if OTHER[task] in name]


@pytest.mark.parametrize("engine", ["mxnet", "torch"])
@pytest.mark.parametrize("task", TASKS)
def test_it_is_resumed_and_scored(
    make_network: Build, configure: Configure, tmp_path: Path, task: str, engine: str
) -> None:
    network = make_network()
    alone = configure(task=task, engine=engine, ema=0.9, prefix=str(tmp_path / "alone" / "m"))
    train(alone, LoaderConfig(), network_json=network)
    parted = replace(alone, end_epoch=1, prefix=str(tmp_path / "parted" / "m"))
    train(parted, LoaderConfig(), network_json=network)
    train(replace(parted, end_epoch=2, resume=True), LoaderConfig(), network_json=network)
    (one, _), (two, _) = (load_states(states_path(config.checkpoint_prefix, 2)) for config in (alone, parted))
    assert one.keys() == two.keys() and not [name for name in one if OTHER[task] in name]
    for name, array in one.items():
        np.testing.assert_allclose(two[name], array, rtol=1e-5, atol=1e-6, err_msg=name)
    info = read_info(parted.checkpoint_prefix)
    assert info is not None and info.task == task
    # What is saved runs on every executor, and says the same.
    saved = load_checkpoint(parted.checkpoint_prefix, 2)
    data = np.random.default_rng(0).uniform(0, 255, (3, 3, 16, 16)).astype(np.float32)
    told = [
        open_executor(saved, engine=name, gpu_ids="cpu").forward(data) for name in ("mxnet", "torch", "onnxruntime")
    ]
    for outputs in told:
        assert not [name for name in outputs if name.startswith(OTHER[task])]
        for name, array in outputs.items():
            np.testing.assert_allclose(array, told[0][name], atol=1e-4, err_msg=name)


def test_a_run_goes_on_with_its_own_task(make_network: Build, configure: Configure) -> None:
    both_heads = configure(end_epoch=1)
    train(both_heads, LoaderConfig(), network_json=make_network())
    message = (
        r"task 'age': this run was begun with 'both', .* begin another with --pretrained .*model,1 and another --p"
    )
    with pytest.raises(UsageError, match=message):
        train(replace(both_heads, task="age", resume=True), LoaderConfig(), network_json=make_network())


def test_it_can_begin_from_a_network_of_both(
    make_network: Build, configure: Configure, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", logger="agegender")
    both_heads = configure(end_epoch=1)
    train(both_heads, LoaderConfig(), network_json=make_network())
    pretrained = f"{both_heads.checkpoint_prefix},1"
    single = configure(end_epoch=1, task="gender", pretrained=pretrained, prefix=str(tmp_path / "single" / "m"))
    train(single, LoaderConfig(), network_json=make_network())
    assert "there, not used (2): arg:age_logits_weight, arg:age_logits_bias" in caplog.messages


@pytest.mark.quick
@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", ["ssrnet", "ssrnet-ssr", "m50"])
def test_the_backbone_is_that_of_the_whole_network(name: str, configure: Configure, task: str) -> None:
    config = configure(backbone_lr=0.1)
    whole, cut = (find_backbone(text, config) for text in (builtin_json(name), learned_graph(builtin_json(name), task)))
    # Stagewise regression of the age alone has no fc1 that would mark where the backbone ends.
    assert set(cut.parameters) == set(whole.parameters) and set(cut.states) == set(whole.states)
