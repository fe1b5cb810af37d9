"""Score a model on records or on a list of photos: gender accuracy, age error, per face and per group."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agegender.app.evaluation.config import REPORT_SHARES, TABLES, EvalConfig
from agegender.app.named_files import check_diagram, check_outputs
from agegender.app.run_statistics import note
from agegender.config import add_options, collect
from agegender.errors import DataError, UsageError

if TYPE_CHECKING:
    from agegender.app.evaluation.faces import FaceSet, ModelCrop
    from agegender.app.evaluation.model import EvalModel
    from agegender.app.evaluation.report import Results
    from agegender.calibration import Calibration
    from agegender.face.detector import Detector
    from agegender.metrics import Scores
    from agegender.pipeline.set_info import SetInfo

EXAMPLES = """\
examples:
  %(prog)s                                             the newest model on dataset/val.rec
  %(prog)s --model ssrnet --data dataset/test.rec --csv faces.csv --plot ages.png
  %(prog)s --model runs/m50/model,12 --data photos.txt   photos path,gender,age: found, warped, scored
  %(prog)s --compare m50 ssrnet --data dataset/test.rec   where the second is better or worse, and whether by chance
  %(prog)s --model m50 --data dataset/test.rec faces.txt  one model over several sets
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    add_options(parser, EvalConfig, title="options")


def main(args: argparse.Namespace) -> int:
    """Score and report: 0, or 1 where records or photos were left out because they are bad."""
    from agegender.app.evaluation.faces import model_crop
    from agegender.app.evaluation.passes import doubt_figures
    from agegender.app.evaluation.report import calibration_figures, figures, write_faces
    from agegender.app.evaluation.written import Scored, worst_faces, write_report
    from agegender.app.messages import language, say
    from agegender.calibration import SHARE

    config = collect(EvalConfig, args)
    lang = language(config.lang)
    if config.compare or config.against or "," in config.data:
        return _several(config, lang, args)
    check_options(config)
    model = open_model(config, lang)
    calibration = stored_calibration(model) if config.calibration or config.report else None
    crop = model_crop(model)
    faces = open_faces(config, crop, lang)
    shares = REPORT_SHARES if config.report else () if calibration is None else (SHARE,)
    # An embedding can't be shown.
    worst = worst_faces(config) if crop.embedding is None else None
    started = time.perf_counter()
    results = score(faces, model, config, lang, shares=shares, watch=None if worst is None else worst.offer)
    seconds = time.perf_counter() - started
    for line in _left_out(faces, lang):
        print(line, file=sys.stderr)
    if not len(results.rows):
        raise DataError(f"--data {config.data}: not one of its {len(faces)} faces can be scored")
    scores = results.scores()
    note(args, **_statistics(model, faces, scores, data=config.data), seconds=seconds)
    print("\n".join(figures(scores, results, lang=lang)))
    if calibration is not None and config.calibration:
        print("\n".join(calibration_figures(results, calibration, lang=lang)))
    if config.mc_dropout is not None:
        print("\n".join(doubt_figures(results, passes=config.mc_dropout, seed=config.seed, lang=lang)))
    origins = faces.origins()
    for line in _tables(config, results, origins, lang):
        print(line)
    if config.csv:
        write_faces(Path(config.csv), results, origins)
        print(say("written", lang, what=say("csv", lang), path=config.csv))
    if config.plot:
        _draw(Path(config.plot), results, scores, lang)
        print(say("written", lang, what=say("plot", lang), path=config.plot))
    if config.report:
        assert calibration is not None
        scored = Scored(
            results=results, faces=faces, origins=origins, model=model, calibration=calibration, seconds=seconds,
            command=getattr(args, "command_line", sys.argv), worst=worst,
        )  # fmt: skip
        page = write_report(config, scored, lang=lang)
        print(say("written", lang, what=say("report", lang), path=page))
    return 1 if faces.losses.skipped else 0


def _statistics(model: EvalModel, faces: FaceSet, scores: Scores, *, data: str) -> dict[str, Any]:
    """Return what --stats writes of one model on one set."""
    left_out = {"not_found": len(faces.losses.not_found), "skipped": len(faces.losses.skipped)}
    return {
        "model": model.prefix.as_posix(),
        "epoch": model.epoch,
        "data": data,
        "scores": scores.as_json(),
        "left_out": left_out,
    }


def _several(config: EvalConfig, lang: str, args: argparse.Namespace) -> int:
    """Compare models, or score several sets: the tables of ``evaluation.several``, one model and one set at a time."""
    from dataclasses import replace

    from agegender.app.evaluation.faces import model_crop
    from agegender.app.evaluation.several import Asked, run_several
    from agegender.app.evaluation.sides import Run

    runs: list[dict[str, Any]] = []

    def scored(name: str | None, data: str) -> Run:
        one = replace(config, model=name, data=data)
        check_options(one)
        model = open_model(one, lang)
        crop = model_crop(model)
        faces = open_faces(one, crop, lang)
        results = score(faces, model, one, lang)
        for line in _left_out(faces, lang):
            print(line, file=sys.stderr)
        if not len(results.rows):
            raise DataError(f"--data {data}: not one of its {len(faces)} faces can be scored")
        runs.append(_statistics(model, faces, results.scores(), data=data))
        note(args, runs=runs)
        skipped = faces.losses.skipped
        return Run(name=name or str(model.prefix), results=results, origins=faces.origins(), skipped=skipped, crop=crop)

    flags = ("plot", "report", "calibration")
    return run_several(
        Asked(
            **{name: getattr(config, name) for name in Asked.names()},
            refused=[f"--{name}" for name in flags if getattr(config, name)],
        ),
        scored,
        lang=lang,
    )


def check_options(config: EvalConfig) -> None:
    """Refuse what can't work before anything is computed."""
    if config.mc_dropout is not None:
        from agegender.executor.monte_carlo import check_passes

        check_passes(config.mc_dropout, name="--mc_dropout")
    if config.batch_size < 1:
        raise UsageError(f"--batch_size {config.batch_size} is not 1 or more")
    for name in config.by:
        if name not in TABLES:
            raise UsageError(f"--by {name!r} is none of {', '.join(TABLES)}")
    if config.plot:
        check_diagram("--plot", config.plot)
    check_outputs(config.outputs)
    if config.report:
        from agegender.app.evaluation.written import check_report

        check_report(config)
    config.spare(_data_files(Path(config.data)), role="which --data reads")


def _data_files(path: Path) -> Iterator[Path]:
    """Yield what is read of ``--data``: a list, or records and what lies beside them."""
    from agegender.recordio import find_shards
    from agegender.recordio.index import index_path
    from agegender.recordio.shards import set_json

    if not _is_records(path):
        yield path
        return
    for file in find_shards(path):
        yield from (file, index_path(file), set_json(file), set_json(file).with_suffix(".csv"))


def _is_records(path: Path) -> bool:
    return path.suffix == ".rec" or "*" in path.name


def open_model(config: EvalConfig, lang: str) -> EvalModel:
    from agegender.app.evaluation.model import open_eval_model
    from agegender.app.messages import model_line
    from agegender.graph.lookup import find_model

    if config.model is not None and config.model.endswith(".onnx"):
        path = Path(config.model).expanduser()
        config.spare([path], role="which is the model")
        return open_eval_model(path, gpu_ids=config.gpu_ids)
    found = find_model(config.model)
    model = open_eval_model(found)
    config.spare(model.files, role="which belongs to the model")
    print(model_line(found, lang, prefix=model.prefix, epoch=model.epoch), file=sys.stderr)
    return model


def stored_calibration(model: EvalModel) -> Calibration:
    """Return what is stored with the model for this epoch. Raises CheckpointError where that is damaged."""
    from agegender.calibration import Calibration

    if model.info is None:
        return Calibration()
    return Calibration.from_json(model.info.calibration, epoch=model.epoch, where=f"{model.source}: calibration")


def open_faces(config: EvalConfig, crop: ModelCrop, lang: str) -> FaceSet:
    """Open ``--data`` and say on standard error what it is."""
    from agegender.app.messages import say

    path = Path(config.data)
    if _is_records(path):
        faces, how = _open_records(config, path, crop, lang)
    else:
        faces, how = _open_list(config, path, crop, lang)
    print(say("data", lang, path=path, faces=len(faces), crop=how), file=sys.stderr)
    return faces


def _open_records(config: EvalConfig, path: Path, crop: ModelCrop, lang: str) -> tuple[FaceSet, str]:
    from agegender.app.evaluation.faces import RecordFaces
    from agegender.app.evaluation.images import RecordImages
    from agegender.app.evaluation.vectors import check_kind
    from agegender.app.messages import say
    from agegender.pipeline.config import LoaderConfig
    from agegender.pipeline.set_info import read_set_info
    from agegender.recordio import find_shards, open_records

    if not any(file.exists() for file in find_shards(path)):
        raise UsageError(
            f"{path} is not there; --data names another (create_dataset.py packs val.rec, and test.rec with "
            f"--test_ratio or where a set has its own test list)"
        )
    records = open_records(path)
    info = read_set_info(records.path)
    check_kind(info, crop, path, flip=config.flip)
    order = config.label_order or (info.labels if info is not None else "gender,age")
    other = other_template(info, crop)
    if other is not None and crop.embedding is not None:
        raise UsageError(f"{path} is of the crop template {other}")
    if other is not None and not config.recrop:
        raise UsageError(f"{path} is in the crop template {other}; --recrop finds and warps the faces anew")
    if other is not None:
        source = RecordImages(records, label_order=order)
        return _cropped(source, config, crop), say("crop_found", lang)
    plain = LoaderConfig(rand_mirror=False, bad_records=config.bad_records)
    faces = RecordFaces(records, crop, batch_size=config.batch_size, config=plain, label_order=order)
    if info is None or crop.template is None:
        return faces, say("crop_unnamed", lang)
    how = say("crop_template", lang, template=crop.template.name)
    return faces, say("synthetic", lang, crop=how) if info.synthetic else how


def other_template(info: SetInfo | None, crop: ModelCrop) -> str | None:
    """Return in words how the set's template differs from the model's; None where it doesn't, or nobody knows."""
    import numpy as np

    from agegender.face.templates import Template

    if info is None or crop.template is None:
        return None
    template, _ = Template.from_json(info.template)
    if template.name != crop.template.name:
        return f"{template.name!r}, the model wants {crop.template.name!r}"
    if not np.allclose(template.points, crop.template.points, atol=1e-3):
        return f"{template.name!r}, but its points are others than those of the model's"
    return None


def _open_list(config: EvalConfig, path: Path, crop: ModelCrop, lang: str) -> tuple[FaceSet, str]:
    from agegender.app.evaluation.images import ListImages, check_list
    from agegender.app.messages import say
    from agegender.dataset.list_file import read_list

    if not path.is_file():
        raise UsageError(f"--data {config.data!r}: there is no such file (create_dataset.py packs one)")
    check_list(path)
    samples = read_list(path)
    if not samples:
        raise DataError(f"{path} names no face")
    config.spare((sample.path for sample in samples), role="which --data reads")
    name = None if crop.template is None else crop.template.name
    others = sorted({sample.template for sample in samples if sample.template} - {name})
    if others and not config.recrop:
        raise UsageError(
            f"{path} has crops in the template {others[0]!r}, the model wants {name!r}; "
            "--recrop finds and warps the faces anew"
        )
    if all(sample.template == name for sample in samples):
        how = say("crop_template", lang, template=name)
    else:
        how = say("crop_found", lang)
    return _cropped(ListImages(samples, template=name), config, crop), how


def _cropped(images: Any, config: EvalConfig, crop: ModelCrop) -> FaceSet:
    from agegender.app.evaluation.faces import MIN_FACE, CroppedFaces

    if crop.template is None:
        raise UsageError("the model does not say which crop template it was trained on, so no photo can be cropped")

    def make_detector() -> Detector:
        from agegender.deploy.mtcnn import open_mtcnn

        return open_mtcnn(min_face=MIN_FACE)

    return CroppedFaces(
        images,
        crop,
        batch_size=config.batch_size,
        make_detector=make_detector,
        bad_records=config.bad_records,
    )


def score(
    faces: FaceSet,
    model: EvalModel,
    config: EvalConfig,
    lang: str,
    *,
    shares: Sequence[float] = (),
    watch: Callable[..., None] | None = None,
) -> Results:
    """Run every face through the net; ``shares`` are those of the age intervals that are wanted, uncorrected.

    ``watch`` sees each batch, with its ``male`` (n,) and ``age`` (n,), None where the model doesn't tell it.
    """
    import numpy as np

    from agegender.age_distribution import age_interval
    from agegender.app.evaluation.passes import DoubtKeeper
    from agegender.app.evaluation.report import Results
    from agegender.labels import MALE
    from agegender.passes import plain

    read = model.open(config.engine, config.gpu_ids, mc_dropout=config.mc_dropout, seed=config.seed)
    views = (slice(None), slice(None, None, -1)) if config.flip else (slice(None),)
    rows, labels, male, age = [], [], [], []
    ends: dict[float, list[Any]] = {}
    told: set[str] = set()
    doubt = DoubtKeeper()
    for batch in _progress(faces, lang):
        readings = [read(batch.data[:, :, view]) for view in views]
        doubt.add(readings)
        genders, years = ([getattr(reading, name) for reading in readings] for name in ("gender", "age"))
        masses: list[Any] = [plain(reading).distribution for reading in readings]
        if genders[0] is not None:
            told.add("gender")
            male.append(np.mean([gender[:, MALE] for gender in genders], axis=0, dtype=np.float64))
        if years[0] is not None:
            told.add("age")
            age.append(np.mean(years, axis=0, dtype=np.float64))
        if masses[0] is not None:
            mass = np.mean(masses, axis=0, dtype=np.float64)
            for share in shares:
                ends.setdefault(share, [np.empty((0, 2))]).append(age_interval(mass, share=share))
        if watch is not None:
            watch(batch, male=male[-1] if male else None, age=age[-1] if age else None)
        rows.append(batch.rows.copy())
        labels.append(batch.labels.copy())
    return Results(
        rows=np.concatenate([np.empty(0, np.int64), *rows]),
        labels=np.concatenate(labels) if labels else np.empty((0, 2), np.float32),
        male=np.concatenate([np.empty(0), *male]) if "gender" in told else None,
        age=np.concatenate([np.empty(0), *age]) if "age" in told else None,
        ends={share: np.concatenate(found) for share, found in ends.items()},
        doubt=doubt.compute(),
    )


def _progress(faces: FaceSet, lang: str) -> Iterator[Any]:
    """Yield the batches with a bar on standard error where somebody watches."""
    from tqdm import tqdm

    from agegender.app.messages import say

    with tqdm(total=len(faces), desc=say("scoring", lang), unit="face", disable=None, file=sys.stderr) as bar:
        for batch in faces.batches():
            yield batch
            bar.update(len(batch.rows))


def _left_out(faces: FaceSet, lang: str) -> Iterator[str]:
    from agegender.app.messages import say

    for key, names in (("not_found", faces.losses.not_found), ("skipped", faces.losses.skipped)):
        if names:
            yield say(key, lang, count=len(names), first=names[0])


def _tables(config: EvalConfig, results: Results, origins: Any, lang: str) -> Iterator[str]:
    from agegender.app.evaluation.report import table
    from agegender.app.messages import say

    for column in config.by:
        scores = results.by(column, origins, lang=lang)
        if scores:
            yield ""
            yield from table(scores, results, title=say(column, lang))


def _draw(path: Path, results: Results, scores: Scores, lang: str) -> None:
    from agegender.app.messages import TEXTS
    from agegender.files import atomic_path
    from agegender.plots.scatter import draw_scatter

    figure = draw_scatter(results.exact_ages, results.age, scores=scores, texts=TEXTS[lang])
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130, format=path.suffix.lower().lstrip("."))
