"""A model's name that every machine and every later process takes for the same one."""

from __future__ import annotations

from pathlib import Path


def pinned_model(name: str | None) -> str:
    """Return the model that ``name`` means (None: the newest run, else the shipped default), with its epoch.

    Shipped models keep their name, which is found on each machine; other paths become absolute. Raises what
    ``find_model`` raises.
    """
    from agegender.graph.lookup import find_model, with_epoch

    if name is not None and name.endswith(".onnx"):
        return str(Path(name).expanduser().absolute())
    model = with_epoch(find_model(name, takes="photos"))
    own = model.origin.kind in ("name", "shipped")
    return f"{model.origin.name if own else model.prefix.absolute()},{model.epoch}"
