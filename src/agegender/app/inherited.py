"""What a network takes over from the checkpoint that it begins with: what that was built with, and its input's size."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agegender.errors import UsageError

if TYPE_CHECKING:
    from agegender.engine.config import TrainConfig
    from agegender.graph import ModelInfo


@dataclass(frozen=True, slots=True)
class Origin:
    """A checkpoint of the same network, and what it says of itself."""

    prefix: Path
    info: ModelInfo


def find_origin(config: TrainConfig) -> Origin | None:
    """Return the checkpoint that a training of ``config`` begins with, if that says it is of the same network.

    It is the run's own where that is resumed, else ``pretrained``. None too where that is not there (the training says
    so when it starts). Raises CheckpointError for a damaged description.
    """
    from agegender.graph import find_model, read_info

    prefix = config.checkpoint_prefix
    info = read_info(prefix) if config.resume else None
    if info is None or info.last is None:
        if config.pretrained is None:
            return None
        try:
            prefix = find_model(config.pretrained).prefix
        except UsageError:
            return None  # a network can be built without it, and what starts a training from it says what is missing
        info = read_info(prefix)
    return Origin(prefix, info) if info is not None and info.network == config.network else None


def inherit(config: TrainConfig, defaults: Any, origin: Origin | None) -> tuple[TrainConfig, str]:
    """Return ``config`` with what ``origin`` was built with where it has None, and a line that says so ("" for none).

    ``defaults`` are the network's (``symbols.Network`` or ``networks.Defaults``). The head is no such thing: another
    one may be put on. Neither is dropout, which the same parameters do with or without.
    """
    from agegender.engine.pretrained import LEARNING, as_flag

    if origin is None:
        return config, ""
    own = {"embedding": defaults.embedding, **defaults.arguments, "data_shape": defaults.data_shape}
    there = {**origin.info.arguments, "data_shape": origin.info.data_shape}
    taken: dict[str, Any] = {}
    for name, usual in own.items():
        value = tuple(there[name]) if isinstance(there.get(name), list) else there.get(name)
        if name not in LEARNING and value not in (None, usual) and getattr(config, name, value) is None:
            taken[name] = value
    if not taken:
        return config, ""
    flags = " ".join(as_flag(name, value) for name, value in taken.items())
    return replace(config, **taken), f"as {origin.prefix} was built: {flags}"


def saved_graph(config: TrainConfig, arguments: dict[str, Any], origin: Origin | None) -> str | None:
    """Return the JSON of ``origin``'s graph where it is the one that ``config`` asks for; None where it is another.

    ``config`` is without gaps, and ``arguments`` are all that a builder would be given.
    """
    from agegender.graph import symbol_path

    if origin is None:
        return None
    info = origin.info
    same = (
        info.data_shape == config.data_shape
        and info.head == config.head
        and info.task in ("both", config.task)
        and info.arguments == json.loads(json.dumps(arguments))
    )
    return symbol_path(origin.prefix).read_text(encoding="utf-8") if same else None
