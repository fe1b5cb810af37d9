"""The saved form of a network, read and written without MXNet: symbol JSON, parameters, checkpoints."""

from __future__ import annotations

from agegender.graph.builtin import builtin_defaults, builtin_json, builtin_names
from agegender.graph.checkpoint import (
    Checkpoint,
    ModelInfo,
    load_checkpoint,
    load_states,
    params_path,
    read_info,
    save_checkpoint,
    save_states,
    states_path,
    symbol_path,
    write_info,
)
from agegender.graph.lookup import ModelOrigin, ModelRef, find_model
from agegender.graph.node import Node
from agegender.graph.params import load_params, save_params
from agegender.graph.symbol import Graph

__all__ = [
    "Checkpoint",
    "Graph",
    "ModelInfo",
    "ModelOrigin",
    "ModelRef",
    "Node",
    "builtin_defaults",
    "builtin_json",
    "builtin_names",
    "find_model",
    "load_checkpoint",
    "load_params",
    "load_states",
    "params_path",
    "read_info",
    "save_checkpoint",
    "save_params",
    "save_states",
    "states_path",
    "symbol_path",
    "write_info",
]
