"""What the operator tables are made of."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from agegender.executor.attributes import Attributes

# Computes a node's outputs (several: as a tuple) from its inputs. A torch.nn.Module where training makes a difference.
Operator = Callable[..., Tensor | tuple[Tensor, ...]]
# Reads a node's attributes; raises GraphError for those that make no sense.
Builder = Callable[[Attributes], Operator]
