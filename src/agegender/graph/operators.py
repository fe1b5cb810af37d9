"""What a graph's reader has to know of MXNet's operators: the names of their inputs, states and outputs.

Only operators whose inputs include parameters, labels or states are listed; every other one takes data alone and has
one output, so the defaults fit.
"""

from __future__ import annotations

from collections.abc import Mapping

Attrs = Mapping[str, str]

NORMS = frozenset({"BatchNorm", "BatchNorm_v1", "CuDNNBatchNorm", "_contrib_SyncBatchNorm"})
_WEIGHTED = frozenset({"Convolution", "Convolution_v1", "Deconvolution", "FullyConnected"})
_AFFINE = frozenset({"InstanceNorm", "LayerNorm", "GroupNorm"})
# Loss operators: what they compute when nobody trains, as (operator, attributes).
LOSSES: dict[str, tuple[str, dict[str, str]]] = {
    "SoftmaxOutput": ("softmax", {"axis": "-1"}),
    "Softmax": ("softmax", {"axis": "-1"}),
    "LinearRegressionOutput": ("_copy", {}),
    "MAERegressionOutput": ("_copy", {}),
    "SVMOutput": ("_copy", {}),
    "LogisticRegressionOutput": ("sigmoid", {}),
}


def is_true(value: str | None, *, default: bool = False) -> bool:
    """Read a boolean attribute as MXNet writes it: True, true or 1."""
    return default if value is None else value.strip().lower() in ("true", "1")


def input_names(op: str, attrs: Attrs) -> tuple[str, ...]:
    """Return the names of an operator's inputs, states included; () where they are not known here."""
    if op in NORMS:
        return ("data", "gamma", "beta", "moving_mean", "moving_var")
    if op in _WEIGHTED:
        without_bias = is_true(attrs.get("no_bias"), default=op == "Deconvolution")
        return ("data", "weight") if without_bias else ("data", "weight", "bias")
    if op in _AFFINE:
        return ("data", "gamma", "beta")
    if op == "LeakyReLU":
        return ("data", "gamma") if attrs.get("act_type") == "prelu" else ("data",)
    if op == "Embedding":
        return ("data", "weight")
    if op == "IdentityAttachKLSparseReg":
        return ("data", "moving_avg")
    if op in LOSSES:
        return ("data", "label")
    return ()


def state_positions(op: str) -> tuple[int, ...]:
    """Return which inputs an operator changes while training (auxiliary states)."""
    if op in NORMS:
        return (3, 4)
    return (1,) if op == "IdentityAttachKLSparseReg" else ()


def default_initializer(op: str, attrs: Attrs, position: int) -> str | None:
    """Return the ``__init__`` attribute that MXNet gives to the variable at this input, None for most."""
    if op in NORMS:
        return {3: '["zero", {}]', 4: '["one", {}]'}.get(position)
    if op == "LeakyReLU" and attrs.get("act_type") == "prelu" and position == 1:
        return '["Constant", {"value": 0.25}]'
    return None


def output_name(op: str, name: str, index: int) -> str:
    """Return the name of an output: ``<name>_output``, numbered for the operators that split."""
    if op in ("SliceChannel", "split", "_split_v2", "topk", "RNN"):
        return f"{name}_output{index}"
    extra = {
        **dict.fromkeys(NORMS, ("output", "mean", "var")),
        "Dropout": ("output", "mask"),
        "LayerNorm": ("output", "mean", "std"),
    }.get(op)
    if extra is not None and index < len(extra):
        return f"{name}_{extra[index]}"
    return f"{name}_output" if index == 0 else f"{name}_output{index}"
