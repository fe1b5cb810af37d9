"""What a network takes over from the checkpoint that its training begins with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from agegender.app import networks
from agegender.app.networks import build_network, find_symbols
from agegender.engine.config import TrainConfig
from agegender.errors import UsageError
from agegender.graph import Graph, ModelInfo, symbol_path, write_info

ROOT = Path(__file__).resolve().parents[2]
M50 = ROOT / "models" / "m50" / "m50"
SAID = f"as {M50} was built: --version_input 0 --data_shape 3,96,96"


def stride(graph_json: str) -> str:
    return next(node for node in Graph.from_json(graph_json).nodes if node.name == "conv_1_conv2d").attrs["stride"]


@pytest.mark.parametrize("network", ["m50", "ssrnet"])
def test_the_shipped_model_is_gone_on_with_as_it_was_built(network: str) -> None:
    built = build_network(TrainConfig(network=network, pretrained=network))
    saved = json.loads(symbol_path(ROOT / "models" / network / network).read_text())
    assert json.loads(built.graph_json)["nodes"] == saved["nodes"]
    assert built.config.data_shape == {"m50": (3, 96, 96), "ssrnet": (3, 64, 64)}[network]
    # ssrnet was built as it is by default: nothing is to be said.
    assert built.inherited == (SAID if network == "m50" else "")


def test_what_is_given_wins_and_head_and_other_networks_are_their_own() -> None:
    given = build_network(TrainConfig(pretrained="m50", version_input=1, data_shape=(3, 64, 64), head="reg"))
    assert (stride(given.graph_json), given.config.data_shape, given.config.head) == ("(1, 1)", (3, 64, 64), "reg")
    assert given.inherited == ""
    half = build_network(TrainConfig(pretrained="m50", data_shape=(3, 64, 64)))
    assert (stride(half.graph_json), half.config.data_shape) == ("(2, 2)", (3, 64, 64))
    assert half.arguments == {"width": 1.0, "version_input": 0, "version_output": "GAP", "embedding": 256}
    assert half.inherited == f"as {M50} was built: --version_input 0"
    other = build_network(TrainConfig(network="ssrnet", pretrained="m50"))
    assert (other.config.data_shape, other.config.version_input, other.inherited) == ((3, 64, 64), None, "")
    # What is not there yet is no reason not to build, and is told by the training itself.
    later = build_network(TrainConfig(pretrained="runs/first/model,14"))
    assert (stride(later.graph_json), later.inherited) == ("(1, 1)", "")


def test_a_resumed_run_stays_what_it_is(tmp_path: Path) -> None:
    prefix = tmp_path / "model"
    arguments = {"width": 1.0, "dropout": 0.4, "embedding": 32}
    config = TrainConfig(network="ssrnet", prefix=str(prefix), resume=True, pretrained="ssrnet")
    # Nothing is saved yet: it begins with --pretrained.
    write_info(prefix, ModelInfo(network="ssrnet", arguments=arguments))
    assert build_network(config).config.embedding == 64
    write_info(prefix, ModelInfo(network="ssrnet", arguments=arguments, input={"shape": [3, 96, 96]}, last=3))
    built = build_network(config)
    assert (built.config.embedding, built.config.data_shape) == (32, (3, 96, 96))
    # Dropout is training's own, not what the parameters are for.
    assert built.arguments["dropout"] == 0.2
    assert built.inherited == f"as {prefix} was built: --embedding 32 --data_shape 3,96,96"


def test_without_symbols_the_checkpoint_s_own_graph_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_symbols() is not None
    monkeypatch.setattr(networks, "find_symbols", lambda: None)
    built = build_network(TrainConfig(pretrained="m50"))
    assert built.graph_json == symbol_path(M50).read_text()
    assert (built.config.data_shape, built.inherited) == ((3, 96, 96), SAID)
    assert built.arguments["version_input"] == 0
    with pytest.raises(
        UsageError, match="data_shape, version_input: only the network's defaults come with the package"
    ):
        build_network(TrainConfig(pretrained="m50", head="reg"))
