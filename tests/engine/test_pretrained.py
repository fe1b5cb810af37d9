from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from agegender.engine import TrainConfig, train
from agegender.engine.pretrained import start_from, take_over
from agegender.errors import UsageError
from agegender.executor.mxnet_runtime import load_mxnet
from agegender.graph import load_checkpoint, save_params
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
