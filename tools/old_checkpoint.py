"""What tools/convert.py does: read an old pair, run it, describe it, write the description or a copy."""

from __future__ import annotations

import argparse
from collections.abc import Container
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.errors import CheckpointError, GraphError, UsageError
from agegender.executor import open_executor
from agegender.executor.choice import choose_executor
from agegender.face.preprocess import InputSpec, to_input
from agegender.face.templates import get_template
from agegender.files import sha256_file
from agegender.graph.checkpoint import (
    Checkpoint,
    load_checkpoint,
    params_path,
    resolve_epoch,
    save_checkpoint,
    saved_epochs,
    symbol_path,
)
from agegender.graph.info import ModelInfo, info_path, read_info, write_info
from agegender.graph.lookup import find_model
from agegender.graph.params import load_params
from agegender.graph.symbol import Graph
from agegender.readout import Part, Reading, Readout
from agegender.readout_finder import ReadoutFinder, listed

Arrays = dict[str, npt.NDArray[Any]]
# Enough for sums of probabilities to betray themselves, and not a batch size that anybody has built in.
_TRIAL_FACES = 3
# Crops are made at least this large: both templates were measured at about it, and shrinking a crop is clean.
_CROP_SIDE = 112
_NAMED = 5


@dataclass(frozen=True)
class _Old:
    """The old pair without losses, ready to run; what was left out of it, and which inputs were fixed."""

    checkpoint: Checkpoint
    left_out: list[str]
    fixed: list[str]


def convert(args: argparse.Namespace) -> list[str]:
    """Do what the flags of tools/convert.py say; return the lines to print.

    Raises UsageError for what can't be decided or would overwrite something, CheckpointError and GraphError for a pair
    that can't be used.
    """
    spec = InputSpec(args.input_size, args.colour.upper(), _per_channel(args.mean), _per_channel(args.scale))
    spec = InputSpec.from_info(spec.to_info())
    model = find_model(args.model)
    target = _target(model.prefix, args)
    info = None if args.output is None else read_info(model.prefix)
    old = _read(model.prefix, resolve_epoch(model.prefix, model.epoch, info=info), args)
    outputs = _trial(old.checkpoint, spec, args.engine)
    readout = ReadoutFinder(
        outputs,
        named={role: _output_name(name, outputs) for role, name in args.outputs.items()},
        forms=args.forms,
        label_order=args.label_order,
        age_bins=args.age_bins,
        age_scale=args.age_scale,
    ).find(args.head_layout)
    info = _info(old.checkpoint, spec, readout, args)
    if args.output is not None:
        _save_used(old.checkpoint, readout, target)
    write_info(target, info)
    # What was written must open, by the same door as any other model.
    load_checkpoint(target)
    return _report(old, spec, outputs, readout, info, target, copied=args.output is not None)


def _target(prefix: Path, args: argparse.Namespace) -> Path:
    """Return the prefix to write to. Raises UsageError where something is in the way."""
    if args.output is None:
        if args.constant:
            raise UsageError("--constant needs --output: the values become parameters, and the old file stays as it is")
        if info_path(prefix).exists() and not args.overwrite:
            raise UsageError(
                f"{info_path(prefix)} exists already; --overwrite replaces it, --output PREFIX writes a copy elsewhere"
            )
        return prefix
    target = Path(args.output)
    if symbol_path(target).resolve() == symbol_path(prefix).resolve():
        raise UsageError(f"--output {target} is the checkpoint itself; without --output only its .json is written")
    there = [path for path in (symbol_path(target), info_path(target)) if path.exists()]
    there += [params_path(target, epoch) for epoch in saved_epochs(target)]
    if there and not args.overwrite:
        raise UsageError(f"{there[0]} exists already; --overwrite replaces it")
    return target


def _read(prefix: Path, epoch: int, args: argparse.Namespace) -> _Old:
    """Read the pair without losses, with the inner nodes that --outputs names, and add the constants."""
    whole = Graph.from_json(symbol_path(prefix))
    path = params_path(prefix, epoch)
    fixed = {name: np.array([values], np.float32) for given in args.constant for name, values in given.items()}
    try:
        graph = _with_inner(whole.inference(), args)
        params = _with_kinds(load_params(path), graph) | {f"arg:{name}": array for name, array in fixed.items()}
        if _missing(graph, params) and args.outputs and args.output is not None:
            # A head that nobody asked for may have lost its parameters: the classes of a recognition net, mostly.
            graph = graph.select(_output_name(name, graph.outputs()) for name in args.outputs.values())
    except GraphError as error:
        raise GraphError(f"{symbol_path(prefix)}: {error}") from None
    for name in fixed:
        if name not in graph.arguments():
            raise UsageError(f"--constant {name}: the net has no input of that name")
    missing = _missing(graph, params)
    graph = _with_shapes(graph, fixed)
    if missing:
        shown = ", ".join(missing[:_NAMED]) + (f" and {len(missing) - _NAMED} more" if len(missing) > _NAMED else "")
        raise CheckpointError(
            f"{path} lacks {len(missing)} parameters of the graph: {shown}; with --output, --constant "
            f"{missing[0]}=VALUES fixes what is an input, and --outputs leaves out what isn't wanted"
        )
    used = {node.name for node in graph.nodes}
    left_out = [node.name for node in whole.nodes if node.is_variable and node.name not in used]
    return _Old(Checkpoint(prefix, epoch, graph, _used(graph, params)), left_out, list(fixed))


def _with_inner(graph: Graph, args: argparse.Namespace) -> Graph:
    """Return the graph with the nodes that ``--outputs`` names as further outputs."""
    outputs = graph.outputs()
    nodes = {node.name for node in graph.nodes if not node.is_variable}
    inner = [name for name in args.outputs.values() if _output_name(name, outputs) not in outputs]
    if not inner:
        return graph
    extended = graph.select(dict.fromkeys([*outputs, *(f"{name}_output" if name in nodes else name for name in inner)]))
    if args.output is None:
        raise UsageError(
            f"--outputs: {inner[0]} is an inner node, not an output ({', '.join(outputs[:_NAMED])}); "
            "--output PREFIX writes a copy that ends there"
        )
    return extended


def _with_shapes(graph: Graph, fixed: Arrays) -> Graph:
    """Write the shapes of constants into the graph: no layer tells them to MXNet."""
    nodes = [
        replace(node, attrs={**node.attrs, "__shape__": str(fixed[node.name].shape)})
        if node.is_variable and node.name in fixed
        else node
        for node in graph.nodes
    ]
    return replace(graph, nodes=tuple(nodes))


def _output_name(name: str, outputs: Container[str]) -> str:
    """Return ``name``, or ``name_output`` where only that is an output: people call a node by either."""
    return f"{name}_output" if name not in outputs and f"{name}_output" in outputs else name


def _with_kinds(params: Arrays, graph: Graph) -> Arrays:
    """Add ``arg:`` and ``aux:`` where Gluon's ``save_parameters`` left them out."""
    if any(name.startswith(("arg:", "aux:")) for name in params):
        return params
    states = set(graph.aux())
    return {f"aux:{name}" if name in states else f"arg:{name}": array for name, array in params.items()}


def _wanted(graph: Graph) -> list[str]:
    given = graph.input_name()
    return [f"arg:{name}" for name in graph.arguments() if name != given] + [f"aux:{name}" for name in graph.aux()]


def _missing(graph: Graph, params: Arrays) -> list[str]:
    return [name.partition(":")[2] for name in _wanted(graph) if name not in params]


def _used(graph: Graph, params: Arrays) -> Arrays:
    return {name: params[name] for name in _wanted(graph)}


def _trial(checkpoint: Checkpoint, spec: InputSpec, engine: str) -> Arrays:
    """Run the net on random pictures and return its outputs. Raises CheckpointError where they aren't of faces."""
    chosen, _ = choose_executor(engine, "cpu")
    executor = open_executor(checkpoint, engine=chosen, gpu_ids="cpu")
    pictures = np.random.default_rng(0).integers(0, 256, (_TRIAL_FACES, *spec.size, 3), np.uint8)
    outputs = executor.forward(to_input(pictures, spec))
    alone = executor.forward(to_input(pictures[:1], spec))
    where = f"{params_path(checkpoint.prefix, checkpoint.epoch)} on {spec.size[0]}x{spec.size[1]} pictures"
    for name, array in outputs.items():
        if array.ndim == 0 or len(array) != _TRIAL_FACES or len(alone[name]) != 1:
            raise CheckpointError(f"{where}: output {name} has shape {array.shape} for {_TRIAL_FACES} faces")
        if not np.isfinite(array).all():
            raise CheckpointError(f"{where}: output {name} is not finite; are --mean and --scale right?")
        if not np.allclose(array[:1], alone[name], rtol=1e-3, atol=1e-3):
            raise CheckpointError(f"{where}: output {name} of a face changes with the other faces of its batch")
    return outputs


def _save_used(checkpoint: Checkpoint, readout: Readout, target: Path) -> None:
    """Write the part of the net that the readout reads."""
    parts = [part for part in (readout.gender, readout.age, readout.distribution) if part is not None]
    names = [name for part in parts for name in part.outputs]
    names += [readout.embedding] if readout.embedding is not None else []
    graph = checkpoint.graph.select(dict.fromkeys(names))
    for epoch in saved_epochs(target):
        params_path(target, epoch).unlink()
    target.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(target, checkpoint.epoch, graph=graph, params=_used(graph, checkpoint.params))


def _info(checkpoint: Checkpoint, spec: InputSpec, readout: Readout, args: argparse.Namespace) -> ModelInfo:
    prefix, epoch = checkpoint.prefix, checkpoint.epoch
    source = params_path(prefix, epoch)
    info = ModelInfo(
        head=readout.layout,
        task=readout.task,
        input=spec.to_info(),
        readout=readout.to_json(),
        age_bins=list(readout.age_bins),
        best=epoch,
        last=epoch if args.output is not None else max([epoch, *saved_epochs(prefix)]),
        extra={"converted": {"from": source.name, "sha256": sha256_file(source)}},
    )
    if args.template is not None:
        info.template = get_template(args.template).to_json(max(_CROP_SIDE, *spec.size))
    return info


def _report(
    old: _Old,
    spec: InputSpec,
    outputs: Arrays,
    readout: Readout,
    info: ModelInfo,
    target: Path,
    *,
    copied: bool,
) -> list[str]:
    checkpoint = old.checkpoint
    numbers = sum(array.size for array in checkpoint.params.values())
    lines = [
        f"model       {checkpoint.prefix}, epoch {checkpoint.epoch}: "
        f"{sum(not node.is_variable for node in checkpoint.graph.nodes)} operators",
        f"parameters  {numbers:,} in {len(checkpoint.params)} arrays",
    ]
    lines += [f"left out    {_some(old.left_out)}"] if old.left_out else []
    lines += [f"fixed       {', '.join(old.fixed)}"] if old.fixed else []
    lines += [
        f"input       {checkpoint.graph.input_name()}: {_input_in_words(spec)}",
        f"template    {_template_in_words(info)}",
        f"outputs     {listed({name: int(np.prod(array.shape[1:])) for name, array in outputs.items()})}",
        f"gender      {_gender_in_words(readout)}",
        f"age         {_age_in_words(readout)}",
        f"trial       {len(next(iter(outputs.values())))} random pictures: {_trial_in_words(readout.read(outputs))}",
        f"written     {info_path(target)}{' with symbol and parameters' if copied else ''}",
    ]
    return lines


def _input_in_words(spec: InputSpec) -> str:
    text = f"{spec.size[0]}x{spec.size[1]} {spec.colour}, "
    if spec.plain:
        return text + "0..255 as it is"
    if len(set(spec.mean)) == 1 and len(set(spec.scale)) == 1:
        return text + f"(value - {spec.mean[0]:g}) * {spec.scale[0]:g}"
    return text + f"(value - {list(spec.mean)}) * {list(spec.scale)}"


def _template_in_words(info: ModelInfo) -> str:
    if not info.template:
        return "not said: infer.py has to be told, --template arcface or utkface"
    return f"{info.template['name']}, crops of {info.template['size'][0]} pixels"


def _gender_in_words(readout: Readout) -> str:
    if readout.gender is None:
        return "none"
    first, second = readout.label_order.split(",")
    if readout.gender.form == "number":
        return f"{_where(readout.gender)}: 0 is {first}, 1 is {second}"
    return f"{_where(readout.gender)}, {readout.gender.form}: {first}, {second}"


def _age_in_words(readout: Readout) -> str:
    bins = readout.age_bins
    if readout.layout == "ordinal" and readout.age is not None:
        text = f"{_where(readout.age)}, {readout.age.form}: {len(bins) - 1} pairs (no, yes), age is how many say yes"
        return text if bins[0] == 0 and bins[-1] == len(bins) - 1 else text + f" along {_bins_in_words(bins)}"
    if readout.age is not None:
        scale = "" if readout.age.scale == 1 else f" times {readout.age.scale:g}"
        return f"{_where(readout.age)}: years{scale}"
    if readout.distribution is not None:
        form = readout.distribution.form
        return f"{_where(readout.distribution)}, {form}: ages {_bins_in_words(bins)}, expected age"
    return "none"


def _bins_in_words(bins: tuple[float, ...]) -> str:
    steps = set(np.diff(bins))
    return f"{bins[0]:g}..{bins[-1]:g}" if steps == {1.0} else ", ".join(f"{age:g}" for age in bins)


def _where(part: Part) -> str:
    text = _some(list(part.outputs))
    return text if part.columns is None else f"{text} columns {part.columns[0]} to {part.columns[1] - 1}"


def _trial_in_words(reading: Reading) -> str:
    texts = []
    if reading.age is not None:
        texts.append(f"ages {reading.age.min():.1f} to {reading.age.max():.1f}")
    if reading.gender is not None:
        texts.append(f"male by {reading.gender[:, 1].min():.2f} to {reading.gender[:, 1].max():.2f}")
    return ", ".join(texts)


def _some(names: list[str]) -> str:
    return ", ".join(names) if len(names) <= _NAMED else f"{', '.join(names[:2])} ... {names[-1]} ({len(names)})"


def _per_channel(values: tuple[float, ...]) -> tuple[float, float, float]:
    one, two, three = values * 3 if len(values) == 1 else values
    return one, two, three
