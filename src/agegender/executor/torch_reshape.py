"""MXNet's Reshape on tensors."""

from __future__ import annotations

from torch import Tensor

from agegender.errors import GraphError
from agegender.executor.attributes import Attributes
from agegender.executor.shape_codes import ReshapeTarget
from agegender.executor.torch_types import Operator


def reshape(attrs: Attributes) -> Operator:
    """Give values another shape; see ``ReshapeTarget`` for the codes."""
    target = ReshapeTarget.read(attrs)

    def run(data: Tensor) -> Tensor:
        try:
            return data.reshape(target.sizes(data.shape))
        except (RuntimeError, IndexError) as error:
            wanted = target.codes or target.legacy
            raise GraphError(
                f"node {attrs.name!r} ({attrs.op}): {tuple(data.shape)} can't be reshaped to {wanted}"
            ) from error

    return run
