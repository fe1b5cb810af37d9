"""The names that arithmetic goes by in MXNet's symbol JSON, of every version since 0.8."""

from __future__ import annotations

# Of two arrays of the same shape.
ELEMENTWISE_NAMES: dict[str, tuple[str, ...]] = {
    "add": ("elemwise_add", "_add", "_plus", "_Plus", "_grad_add"),
    "sub": ("elemwise_sub", "_sub", "_minus", "_Minus"),
    "mul": ("elemwise_mul", "_mul", "_Mul"),
    "div": ("elemwise_div", "_div", "_Div"),
    "power": ("_power", "_Power"),
    "maximum": ("_maximum", "_Maximum"),
    "minimum": ("_minimum", "_Minimum"),
    "equal": ("_equal",),
    "not_equal": ("_not_equal",),
    "greater": ("_greater",),
    "greater_equal": ("_greater_equal",),
    "lesser": ("_lesser",),
    "lesser_equal": ("_lesser_equal",),
}
ELEMENTWISE = frozenset(name for names in ELEMENTWISE_NAMES.values() for name in names)
REDUCTION_NAMES = {
    "sum": ("sum", "sum_axis"),
    "mean": ("mean",),
    "max": ("max", "max_axis"),
    "min": ("min", "min_axis"),
}
_BROADCAST = {"add": "plus", "sub": "minus"}


def broadcast_names(name: str) -> set[str]:
    """Return the names of an operator on arrays that are broadcast: ``broadcast_add``, ``broadcast_plus``."""
    return {f"broadcast_{name}", f"broadcast_{_BROADCAST.get(name, name)}"}


def scalar_names(name: str) -> tuple[str, str]:
    """Return the names of an operator with a number, now and until 0.8: ``_rminus_scalar``, ``_RMinusScalar``."""
    start = 2 if name in ("rminus", "rdiv", "rpower") else 1
    return f"_{name}_scalar", f"_{name[:start].upper()}{name[start:]}Scalar"
