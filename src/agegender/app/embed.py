"""Make embeddings of packed faces with a face recogniser: a set that train.py --network mlp learns from."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agegender.config import add_options, collect, option
from agegender.errors import DataError, UsageError
from agegender.executor import EXECUTORS

if TYPE_CHECKING:
    from agegender.app.embed_model import Embedder
    from agegender.app.evaluation.faces import FaceSet
    from agegender.pipeline.set_info import SetInfo
    from agegender.recordio import RecordSet

EXAMPLES = """\
examples:
  %(prog)s --model w600k_r50.onnx --data dataset/train.rec dataset/val.rec --output dataset/emb
  %(prog)s --model model-r100-ii/model,0 --data dataset/train.rec --output dataset/emb/train.rec --resume
  %(prog)s --model m50 --data dataset/val.rec --output dataset/emb --normalise
  python train.py --network mlp --data_dir dataset/emb

exit code: 0 all well, 1 faces were left out or bad data, 2 wrong usage, 130 Ctrl-C (--resume goes on)
"""
# How the crops of a set became those that the net got.
AS_PACKED, AS_THEY_ARE, FOUND = "as packed", "as they are", "found and warped anew"
_NOTE_SECONDS = 5.0


@dataclass(frozen=True, kw_only=True)
class EmbedConfig:
    """Options of embed."""

    model: str | None = option(
        None, help="an .onnx file, PREFIX,EPOCH of an MXNet checkpoint, or the name of a model", metavar="MODEL"
    )
    data: tuple[str, ...] = option(("dataset/train.rec",), help="sets of pictures", metavar="FILE", nargs="+")
    output: str = option(
        "dataset/emb", help="folder for the sets, or, of one set, a file ending in .rec", metavar="PATH"
    )
    side: int | None = option(
        None, help="side of the model's input where it takes several (default: its own, else 112)", metavar="PX"
    )
    mean: tuple[float, ...] | None = option(
        None, help="what is subtracted from 0..255: a number, or three in the model's order (default: see the docs)",
        metavar="M",
    )  # fmt: skip
    std: tuple[float, ...] | None = option(None, help="what is divided by then, likewise", metavar="S")
    bgr: bool = option(False, help="the model takes blue, green, red")
    embedding_output: str | None = option(
        None, help="which output is the embedding (default: fc1, else the only one)", metavar="NAME"
    )
    template: str | None = option(
        None, help="crops that the model was trained on, where it doesn't say (default: arcface)", metavar="NAME"
    )
    recrop: bool = option(False, help="find and warp the faces anew where the set is in another crop template")
    as_is: bool = option(False, help="take the crops of a set in another template as they are")
    flip: bool = option(False, help="the mean over each face and its mirror image")
    normalise: bool = option(False, help="bring each embedding to length 1")
    batch_size: int = option(64, help="faces that go through the model at once", metavar="N")
    engine: str = option("auto", choices=("auto", *EXECUTORS), help="what runs it; auto: onnxruntime if installed")
    gpu_ids: str | None = option(None, help="GPU to compute on, or cpu (default: the first GPU, else CPU)", metavar="N")
    threads: int | None = option(None, help="threads that compute on a processor (default: one a core)", metavar="N")
    label_order: str | None = option(
        None, help="order of the labels: gender,age or age,gender (default: what the set says, else gender,age)",
        choices=("gender,age", "age,gender"), metavar="ORDER",
    )  # fmt: skip
    bad_records: str = option(
        "stop", choices=("stop", "skip"), help="on a bad record: stop and name it, or leave it out and count it"
    )
    resume: bool = option(False, help="go on with an interrupted run, and leave sets alone that are there already")
    overwrite: bool = option(False, help="replace sets that are there")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    add_options(parser, EmbedConfig, title="options")


def main(args: argparse.Namespace) -> int:
    """Make all sets: 0, or 1 where faces were left out."""
    from agegender.app.embed_model import Wishes, open_embedder

    config = collect(EmbedConfig, args)
    targets = _targets(config)
    wishes = Wishes(
        side=config.side,
        mean=config.mean,
        std=config.std,
        bgr=config.bgr,
        output=config.embedding_output,
        template=config.template,
    )
    embedder = open_embedder(
        str(config.model), wishes, engine=config.engine, gpu_ids=config.gpu_ids, threads=config.threads
    )
    print(embedder.describe(), file=sys.stderr)
    return max(_embed_set(source, target, embedder, config) for source, target in targets)


def _targets(config: EmbedConfig) -> list[tuple[Path, Path]]:
    """Return each set and where its embeddings go. Raises UsageError for what can't work."""
    from agegender.app.named_files import identity
    from agegender.recordio import find_shards

    if config.model is None:
        raise UsageError("--model is missing: the face recogniser, an .onnx file or PREFIX,EPOCH of MXNet's")
    if config.recrop and config.as_is:
        raise UsageError("--recrop warps the faces anew, --as_is takes them as they are: give one of the two")
    for name, value in (("batch_size", config.batch_size), ("side", config.side), ("threads", config.threads)):
        if value is not None and value < 1:
            raise UsageError(f"--{name} {value} is not 1 or more")
    output = Path(config.output)
    found: list[tuple[Path, Path]] = []
    for source in map(Path, config.data):
        if not any(file.exists() for file in find_shards(source)):
            raise UsageError(f"--data {source} is not there (create_dataset.py packs train.rec, val.rec and test.rec)")
        if output.suffix == ".rec" and len(config.data) > 1:
            raise UsageError(f"--output {output} is one file, --data names {len(config.data)}; name a folder")
        target = output if output.suffix == ".rec" else output / f"{source.stem.strip('*-')}.rec"
        if identity(target) in map(identity, find_shards(source)):
            raise UsageError(f"--output {output} would overwrite {source}; name another folder")
        if any(target == other for _, other in found):
            raise UsageError(f"--data: two sets would become {target}; make them one after the other")
        found.append((source, target))
    return found


def _embed_set(source: Path, target: Path, embedder: Embedder, config: EmbedConfig) -> int:
    """Make the set ``target``; 1 where faces of ``source`` were left out."""
    from agegender.app.embed_set import EmbeddingWriter, is_made, plan_of
    from agegender.dataset.journal import Journal
    from agegender.pipeline.set_info import read_set_info
    from agegender.recordio import open_records, set_json

    with open_records(source) as records:
        info = read_set_info(records.path)
        if info is not None:
            info.pictures()
        crops = _crops(info, embedder, config, source)
        about = _about(embedder, config, crops)
        if config.resume and is_made(target, records, about):
            print(f"{target}: there already")
            return 0
        if not config.overwrite and (target.exists() or set_json(target).exists()):
            raise UsageError(f"{target} is there already; --overwrite replaces it")
        target.parent.mkdir(parents=True, exist_ok=True)
        journal = Journal(target.parent)
        try:
            if journal.complete:
                journal.finish()
                journal = Journal(target.parent)
            plan = plan_of(target.name, records, about, {"bad_records": config.bad_records})
            state = journal.resume(plan) if config.resume and journal.interrupted else {}
            if not state:
                journal.begin(plan)
            writer = EmbeddingWriter(journal, target.name, records, state=state)
            order = config.label_order or (info.labels if info is not None else "gender,age")
            faces = _open(records, embedder, config, crops, order=order, start=writer.done)
            started, before = time.perf_counter(), writer.written
            _run(writer, faces, embedder, config, total=len(records))
            seconds = time.perf_counter() - started
            if not writer.written:
                journal.discard()
                raise DataError(f"{source}: not one of its {len(records)} faces has an embedding")
            template = info.template if info is not None and crops == AS_PACKED else _template(embedder, info, crops)
            writer.finish(labels=order, template=template, about={"size": writer.width, **about})
        finally:
            journal.close()
        speed = (writer.written - before) / max(seconds, 1e-9)
        size = target.stat().st_size
        print(f"{target}: {writer.written:,} embeddings of {writer.width} numbers, {size:,} bytes ({speed:.0f}/s)")
        if writer.lost:
            first = (*faces.losses.skipped, *faces.losses.not_found, f"record {writer.lost[0]}")[0]
            print(f"left out: {len(writer.lost):,} (the first: {first})", file=sys.stderr)
        return 1 if writer.lost else 0


def _crops(info: SetInfo | None, embedder: Embedder, config: EmbedConfig, source: Path) -> str:
    """Return how the net gets the crops of a set. Raises UsageError where they are others than it was trained on."""
    from agegender.app.evaluate import other_template
    from agegender.app.evaluation.faces import ModelCrop

    size = embedder.spec.size
    crop = ModelCrop(size=size, template=embedder.template, side=size[0])
    if info is None or not info.template:
        other: str | None = f"that nobody has written down, the model wants {embedder.template.name!r}"
    else:
        other = other_template(info, crop)
    if other is None:
        return AS_PACKED
    if config.recrop:
        return FOUND
    if config.as_is:
        print(f"{source}: taken as they are, though the crop template is {other}", file=sys.stderr)
        return AS_THEY_ARE
    raise UsageError(
        f"{source} is in the crop template {other}; create_dataset.py --template {embedder.template.name} packs "
        "the photos for it, --recrop warps these crops anew, --as_is takes them as they are"
    )


def _about(embedder: Embedder, config: EmbedConfig, crops: str) -> dict[str, Any]:
    """Return what the set's JSON says of its embeddings, besides how long they are."""
    return {
        "model": embedder.name,
        "sha256": embedder.files,
        "output": embedder.output,
        "input": embedder.spec.to_info(),
        "template": embedder.template.name,
        "crops": crops,
        "flip": config.flip,
        "normalised": config.normalise,
    }


def _template(embedder: Embedder, info: SetInfo | None, crops: str) -> dict[str, Any]:
    """Return the template of the crops that the net got."""
    if crops == AS_THEY_ARE and info is not None:
        return info.template
    return embedder.template.to_json(embedder.spec.size[0])


def _open(
    records: RecordSet, embedder: Embedder, config: EmbedConfig, crops: str, *, order: str, start: int
) -> FaceSet:
    from agegender.app.evaluation.faces import CroppedFaces, ModelCrop, RecordFaces
    from agegender.app.evaluation.images import RecordImages
    from agegender.pipeline.config import LoaderConfig

    size = embedder.spec.size
    crop = ModelCrop(size=size, template=embedder.template, side=size[0])
    if crops != FOUND:
        plain = LoaderConfig(rand_mirror=False, bad_records=config.bad_records)
        return RecordFaces(records, crop, batch_size=config.batch_size, config=plain, label_order=order, start=start)

    def make_detector() -> Any:
        from agegender.app.evaluation.faces import MIN_FACE
        from agegender.deploy.mtcnn import open_mtcnn

        return open_mtcnn(min_face=MIN_FACE)

    return CroppedFaces(
        RecordImages(records, label_order=order),
        crop,
        batch_size=config.batch_size,
        make_detector=make_detector,
        bad_records=config.bad_records,
        start=start,
    )


def _run(writer: Any, faces: FaceSet, embedder: Embedder, config: EmbedConfig, *, total: int) -> None:
    """Send all faces that are left through the net and write what comes out."""
    import numpy as np

    if writer.done >= total:
        return
    noted = time.monotonic()
    for batch in _progress(faces, done=writer.done, total=total):
        vectors = embedder.embed(batch.data)
        if config.flip:
            vectors = (vectors + embedder.embed(np.ascontiguousarray(batch.data[:, :, ::-1]))) / 2
        if config.normalise:
            vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
        if not np.isfinite(vectors).all():
            row = int(batch.rows[int(np.flatnonzero(~np.isfinite(vectors).all(axis=1))[0])])
            raise DataError(f"{embedder.name}: the embedding of the face at position {row} is not finite")
        writer.write(batch.rows.tolist(), vectors)
        if time.monotonic() - noted > _NOTE_SECONDS:
            writer.note()
            noted = time.monotonic()


def _progress(faces: FaceSet, *, done: int, total: int) -> Iterator[Any]:
    """Yield the batches with a bar on standard error where somebody watches."""
    from tqdm import tqdm

    with tqdm(
        initial=done, total=total, desc="embedding", unit="face", disable=None, file=sys.stderr, dynamic_ncols=True
    ) as bar:
        for batch in faces.batches():
            yield batch
            bar.update(len(batch.rows))
