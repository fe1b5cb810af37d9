"""Export a model: one .onnx file that says itself what goes in and comes out, or a pair without ranges for phones."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agegender.config import add_options, collect, option
from agegender.errors import CheckpointError, DataError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from agegender.graph.checkpoint import Checkpoint
    from agegender.graph.lookup import ModelRef

EXAMPLES = """\
examples:
  %(prog)s ssrnet                                     ssrnet.onnx, any batch
  %(prog)s m50 --int8 --calibrate dataset/val.rec     m50-int8.onnx, about a quarter of the size
  %(prog)s runs/m50/model,12 --batch 1 --output phone.onnx
  %(prog)s mtcnn                                      mtcnn_pnet.onnx (any image size), mtcnn_rnet.onnx, mtcnn_onet.onnx
  %(prog)s ssrnet --to ncnn-friendly                  ssrnet-folded-symbol.json and .params, no ranges in them
  %(prog)s m50 --triton repository                    repository/m50/1/model.onnx and its config.pbtxt, for Triton
"""
TARGETS = ("onnx", "ncnn-friendly")
DETECTOR = "mtcnn"
MTCNN_LICENCE = "MIT (mtcnn), weights by Zhang et al."


@dataclass(frozen=True, kw_only=True)
class ExportConfig:
    """Options of export besides the model."""

    to: str = option("onnx", choices=TARGETS, help="onnx: one file; ncnn-friendly: MXNet's pair without ranges")
    output: str | None = option(None, help="file to write (default: the model's name, here)", metavar="FILE")
    triton: str | None = option(
        None, help="model repository of Triton to write into, in place of --output", metavar="FOLDER"
    )
    batch: int = option(0, help="a fixed number of faces; 0: any", metavar="N")
    int8: bool = option(False, help="quantise to eight bits, with ranges measured on --calibrate")
    calibrate: str = option("dataset/val.rec", help="records whose faces give --int8 its ranges", metavar="FILE")
    faces: int = option(512, help="how many of them, evenly spread over the set", metavar="N")
    licence: str = option(
        "", help="what may be done with the file (else what the line Terms of the model's card says)", metavar="TEXT"
    )
    overwrite: bool = option(False, help="replace files that are there")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument("model", help="PREFIX,EPOCH or the name of a model, or mtcnn for the detector's three nets")
    add_options(parser, ExportConfig, title="options")


def main(args: argparse.Namespace) -> int:
    """Write the files and say what they are."""
    from agegender.executor.onnx_runtime import load_onnxruntime

    config = collect(ExportConfig, args)
    if config.batch < 0:
        raise UsageError(f"--batch {config.batch} is not 0 or more")
    if config.triton is not None and (config.to != "onnx" or config.output is not None):
        raise UsageError(f"--triton {config.triton}: only with --to onnx, and not with --output")
    if config.int8 and (config.to != "onnx" or args.model == DETECTOR):
        raise UsageError("--int8 is for --to onnx and for nets that tell age and gender")
    load_onnxruntime()
    if args.model == DETECTOR:
        _export_detector(config)
    else:
        _export_net(args.model, config)
    return 0


def _export_net(name: str, config: ExportConfig) -> None:
    from agegender.graph.checkpoint import load_checkpoint
    from agegender.graph.lookup import find_model
    from agegender.input_shape import is_vector

    found = find_model(name)
    checkpoint = load_checkpoint(found.prefix, found.epoch)
    info = checkpoint.info
    if info is None or info.data_shape is None:
        raise CheckpointError(
            f"{checkpoint.prefix}.json is missing or lacks the input's shape: tools/convert.py writes it for old models"
        )
    if config.int8 and is_vector(info.data_shape):
        raise UsageError(f"--int8 is for nets on pictures, {checkpoint.prefix} takes embeddings (it is small as it is)")
    title = _title(found)
    if config.to == "ncnn-friendly":
        _export_folded(checkpoint, title, config)
        return
    suffix = "-int8" if config.int8 else ""
    path = _target(config, f"{title}{suffix}.onnx")
    from agegender.executor.onnx_graph import to_onnx

    model = to_onnx(
        checkpoint.graph,
        checkpoint.params,
        image=info.data_shape,
        batch=config.batch or None,
        name=title,
        metadata=_metadata(checkpoint, title, config),
    )
    if config.int8:
        model = _in_eight_bits(model, checkpoint, config)
    _write(path, model, config)


def _title(found: ModelRef) -> str:
    """Return what to call the files: the model's name, for a run ``runs/m50/model`` the folder's."""
    prefix = found.prefix
    return prefix.parent.name if prefix.name == "model" and prefix.parent.name else prefix.name


def _target(config: ExportConfig, name: str) -> Path:
    if config.triton is not None:
        return _place_in_repository(config, Path(name).stem)
    path = Path(config.output or name)
    if path.is_dir():
        path = path / name
    if path.suffix != ".onnx":
        raise UsageError(f"--output {path} doesn't end in .onnx")
    return _free(path, config)


def _free(path: Path, config: ExportConfig) -> Path:
    if path.exists() and not config.overwrite:
        raise UsageError(f"{path} is there already; --overwrite replaces it")
    if not path.parent.is_dir():
        raise UsageError(f"--output {path}: the folder {path.parent} does not exist")
    return path


def _place_in_repository(config: ExportConfig, name: str) -> Path:
    from agegender.app.triton import config_path, model_path

    path = model_path(Path(str(config.triton)), name)
    path.parent.mkdir(parents=True, exist_ok=True)
    _free(config_path(path), config)
    return _free(path, config)


def _write(path: Path, model: Any, config: ExportConfig) -> None:
    """Check the model with ONNX's own checker and shape inference, and write it, atomically."""
    import onnx

    from agegender.app.triton import config_path, triton_config
    from agegender.files import write_bytes

    onnx.checker.check_model(model, full_check=True)
    data = model.SerializeToString()
    write_bytes(path, data)
    shape = [dim.dim_param or dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    outputs = ", ".join(output.name for output in model.graph.output)
    size = f"{len(data) / 1e6:.2f} MB"
    print(f"{path}: {size}, opset {model.opset_import[0].version}, input {shape}, outputs {outputs}")
    if config.triton is not None:
        beside = config_path(path)
        write_bytes(beside, triton_config(model, name=beside.parent.name).encode())
        print(f"{beside}: the names, types and shapes of it, for Triton")


def _metadata(checkpoint: Checkpoint, title: str, config: ExportConfig) -> dict[str, str]:
    """Return what the file says of itself: for our programs as JSON, for people and other programs in words."""
    import dataclasses

    import agegender
    from agegender.deploy.open_net import METADATA_KEY
    from agegender.graph.info import info_to_json

    info = checkpoint.info
    assert info is not None
    # How it was trained is of no use to whoever runs it, and may name folders of the machine that did.
    lean = dataclasses.replace(info, config={}, data={}, best=checkpoint.epoch, last=checkpoint.epoch)
    key = str(checkpoint.epoch)
    lean.metrics = {key: info.metrics[key]} if key in info.metrics else {}
    inside = not info.readout
    return {
        METADATA_KEY: json.dumps(info_to_json(lean)),
        "model": f"{title}, epoch {checkpoint.epoch}, written by agegender {agegender.__version__}",
        "input": json.dumps(info.input),
        "normalisation": "inside the graph" if inside else "as input says",
        "crop": json.dumps(info.template),
        "labels": json.dumps({"gender": ["female", "male"], "age": "years"}),
        "age_bins": json.dumps(info.age_bins),
        "licence": config.licence or _terms(checkpoint.prefix),
    }


def _terms(prefix: Path) -> str:
    """Return the line **Terms** of the model card beside the checkpoint, else that nobody has said anything."""
    card = prefix.parent / "README.md"
    if card.is_file():
        for line in card.read_text(encoding="utf-8").splitlines():
            if line.startswith("**Terms**"):
                return line.removeprefix("**Terms**").strip()
    return "not stated"


def _in_eight_bits(model: Any, checkpoint: Checkpoint, config: ExportConfig) -> Any:
    from agegender.executor.onnx_quantize import quantize

    return quantize(model, _calibration_batches(checkpoint, config))


def _calibration_batches(checkpoint: Checkpoint, config: ExportConfig) -> Iterator[npt.NDArray[np.float32]]:
    """Yield batches of real crops as the net is given them. Raises UsageError and RecordError for bad records."""
    import numpy as np
    from tqdm import tqdm

    from agegender.app.evaluation.images import RecordImages
    from agegender.face.preprocess import InputSpec, resize_crop, to_input
    from agegender.labels import LABELS
    from agegender.pipeline.set_info import read_set_info
    from agegender.recordio import find_shards, open_records

    path = Path(config.calibrate)
    if not any(file.exists() for file in find_shards(path)):
        raise UsageError(f"--calibrate {path} is not there; name a .rec (create_dataset.py packs val.rec)")
    if config.faces < 1:
        raise UsageError(f"--faces {config.faces} is not 1 or more")
    records = open_records(path)
    info = read_set_info(records.path)
    images = RecordImages(records, label_order=LABELS if info is None else info.labels)
    if not len(images):
        raise DataError(f"--calibrate {path} holds no face")
    assert checkpoint.info is not None
    spec = InputSpec.from_info(checkpoint.info.input)
    rows = np.unique(np.linspace(0, len(images) - 1, min(config.faces, len(images))).astype(int))
    step = config.batch or 32
    # A fixed batch can't be filled with less.
    usable = len(rows) - len(rows) % step if config.batch else len(rows)
    with tqdm(total=usable, desc="calibrating", unit="face", disable=None, file=sys.stderr) as bar:
        for start in range(0, usable, step):
            crops = [resize_crop(images.read(int(row))[0], spec.size) for row in rows[start : start + step]]
            yield to_input(np.stack(crops), spec)
            bar.update(len(crops))


def _export_folded(checkpoint: Checkpoint, title: str, config: ExportConfig) -> None:
    """Write MXNet's pair with everything constant as parameters: mxnet2ncnn and its kind know no ranges."""
    from agegender.executor.onnx_folding import fold_constants
    from agegender.graph.checkpoint import params_path, save_checkpoint, symbol_path

    prefix = Path(config.output or f"{title}-folded")
    for path in (symbol_path(prefix), params_path(prefix, checkpoint.epoch)):
        _free(path, config)
    graph, params = fold_constants(checkpoint.graph, checkpoint.params)
    gone = sorted(checkpoint.graph.operators() - graph.operators())
    save_checkpoint(prefix, checkpoint.epoch, graph=graph, params=params)
    print(f"{symbol_path(prefix)}, {params_path(prefix, checkpoint.epoch)}: without {', '.join(gone) or 'any change'}")
    print(f"operators: {', '.join(sorted(graph.operators()))}")


def _export_detector(config: ExportConfig) -> None:
    """Write MTCNN's three nets; P-Net takes any image size."""
    from agegender.deploy.mtcnn import NETS, load_net
    from agegender.executor.onnx_graph import to_onnx

    if config.to != "onnx":
        raise UsageError(f"--to {config.to} is for nets that tell age and gender; mtcnn goes to onnx")
    sides: dict[str, int | None] = {"pnet": None, "rnet": 24, "onet": 48}
    folder = Path(config.output or ".")
    if not folder.is_dir():
        raise UsageError(f"--output {folder} is no folder; mtcnn is three files")
    files = {name: f"{DETECTOR}_{name}.onnx" for name in NETS}
    jobs: list[tuple[Path, Any]] = [
        (_target(config, file) if config.triton is not None else _free(folder / file, config), load_net(name))
        for name, file in files.items()
    ]
    for (path, checkpoint), name in zip(jobs, NETS, strict=True):
        side = sides[name]
        metadata = {"input": "(x - 127.5) / 128 of RGB is inside the graph", "licence": config.licence or MTCNN_LICENCE}
        model = to_onnx(
            checkpoint.graph,
            checkpoint.params,
            image=(3, side, side),
            batch=config.batch or None,
            name=Path(files[name]).stem,
            metadata=metadata,
        )
        _write(path, model, config)
