from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agegender.engine import TrainConfig, train
from agegender.engine.pretrained import start_from, take_over
from agegender.errors import CheckpointError, UsageError
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.graph import ModelInfo, load_checkpoint, save_params, write_info
from agegender.graph.info import info_path
from agegender.pipeline import LoaderConfig


@pytest.mark.quick
@pytest.mark.parametrize("prefixed", [True, False])
def test_what_fits_is_taken_and_all_is_listed(prefixed: bool) -> None:
    ours = {"arg:conv_weight": np.zeros((2, 3)), "arg:fc_weight": np.zeros((4, 5)), "aux:bn_moving_mean": np.zeros(2)}
    theirs = {"arg:conv_weight": np.ones((2, 3)), "arg:fc_weight": np.ones((202, 5)), "arg:old": np.ones(1)}
    if not prefixed:
        theirs = {name[4:]: array for name, array in theirs.items()}
    result = take_over(ours, theirs)
    assert result.taken == ["conv_weight"]
    assert result.kept == ["fc_weight (there 202x5, here 4x5)", "bn_moving_mean"]
    assert result.unused == ["arg:old" if prefixed else "old"]
    np.testing.assert_array_equal(result.params["arg:conv_weight"], 1)
    np.testing.assert_array_equal(result.params["arg:fc_weight"], 0)


def test_nothing_that_fits_is_an_error(tmp_path: Path) -> None:
    save_params(tmp_path / "old-0003.params", {"arg:other": np.ones(3, np.float32)})
    (tmp_path / "old-symbol.json").write_text("{}")
    with pytest.raises(UsageError, match=r"old-0003\.params: none of its parameters fits this network"):
        start_from(f"{tmp_path / 'old'},3", {"arg:fc1_weight": np.ones(3)})


def test_an_old_checkpoint_with_another_head_seeds_the_backbone(
    make_network: Callable[..., str],
    configure: Callable[..., TrainConfig],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    mx = load_mxnet()
    body = mx.sym.load_json(make_network()).get_internals()["fc1_output"]
    # 2 + 2 * 100 outputs: gender, and whether one is older than each age.
    old = mx.sym.SoftmaxOutput(mx.sym.FullyConnected(body, num_hidden=202, name="fc2"), name="softmax")
    module = mx.mod.Module(old)
    module.bind(data_shapes=[("data", (2, 3, 16, 16))], label_shapes=[("softmax_label", (2,))])
    module.init_params(mx.init.Normal(0.1))
    module.save_checkpoint(str(tmp_path / "old"), 7)

    caplog.set_level(logging.INFO, logger="agegender")
    # Nothing moves at rate 0, so that what was taken can be seen in what is saved.
    config = configure(end_epoch=1, lr=0.0, pretrained=f"{tmp_path / 'old'},7")
    train(config, LoaderConfig(), network_json=make_network())
    there = module.get_params()[0]
    saved = load_checkpoint(config.checkpoint_prefix, 1).params
    np.testing.assert_array_equal(saved["arg:conv1_weight"], there["conv1_weight"].asnumpy())
    np.testing.assert_array_equal(saved["arg:fc1_weight"], there["fc1_weight"].asnumpy())
    text = "\n".join(caplog.messages)
    assert f"{tmp_path / 'old'}-0007.params: 8 of 12 parameters taken\n" in text
    assert "not there, drawn anew (4): " in text and "gender_logits_weight" in text
    assert "there, not used (2): arg:fc2_weight, arg:fc2_bias" in text


@pytest.mark.parametrize("engine", ["mxnet", "torch"])
def test_the_same_network_of_other_layers_is_an_error_and_others_a_warning(
    make_network: Callable[..., str],
    configure: Callable[..., TrainConfig],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    engine: str,
) -> None:
    begun = configure(end_epoch=1, lr=0.0, engine=engine)
    arguments = {"embedding": 8, "stem": 0, "dropout": 0.2}
    train(begun, LoaderConfig(), network_json=make_network(), arguments=arguments)
    prefix = begun.checkpoint_prefix
    other = make_network().replace('"pool_type": "avg"', '"pool_type": "max"')
    assert other != make_network()
    config = configure(
        end_epoch=1, lr=0.0, engine=engine, pretrained=f"{prefix},1", prefix=str(tmp_path / "next" / "model")
    )
    differ = "pool1: pool_type avg, not max"
    with pytest.raises(UsageError) as told:
        train(config, LoaderConfig(), network_json=other, arguments={**arguments, "stem": 1, "dropout": 0.5})
    assert str(told.value) == (
        f"{prefix} was built with --stem 0, this network with --stem 1 ({differ}); give --stem 0, or another checkpoint"
    )
    with pytest.raises(UsageError, match=rf"model is a tiny of other layers than this one \({differ}\)"):
        train(config, LoaderConfig(), network_json=other, arguments={})
    # A run goes on as the network that it was begun as, too.
    resumed = configure(end_epoch=2, engine=engine, resume=True)
    with pytest.raises(UsageError, match=rf"was built with --stem 0, this network with --stem 1 \({differ}\)"):
        train(resumed, LoaderConfig(), network_json=other, arguments={**arguments, "stem": 1})
    assert not (tmp_path / "next").exists()
    # A checkpoint that says nothing of itself, or is of another network, may be taken for what it is.
    info_path(prefix).unlink()
    for info in (None, ModelInfo(network="other", last=1)):
        if info is not None:
            write_info(prefix, info)
        caplog.clear()
        train(config, LoaderConfig(), network_json=other, arguments=arguments)
        warned = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
        assert f"{prefix}-symbol.json: parameters fit layers that are not the same ({differ})" in warned


def test_an_epoch_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    prefix = tmp_path / "model"
    (tmp_path / "model-symbol.json").write_text("{}")
    for epoch in (13, 15):
        save_params(tmp_path / f"model-{epoch:04d}.params", {"arg:w": np.ones(3, np.float32)})
    write_info(prefix, ModelInfo(network="tiny", best=13, last=15))
    with pytest.raises(CheckpointError) as told:
        start_from(f"{prefix},1", {"arg:w": np.ones(3)})
    assert str(told.value) == f"{prefix}-0001.params does not exist (epochs there: 13, 15; {prefix},best takes 13)"
    np.testing.assert_array_equal(start_from(f"{prefix},best", {"arg:w": np.zeros(3)})["arg:w"], 1)
