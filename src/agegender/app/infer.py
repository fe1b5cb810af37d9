"""Find the faces in photos, tell age and gender, and write annotated pictures."""

from __future__ import annotations

import argparse
import glob
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from agegender.app.named_files import identity
from agegender.config import add_options, collect, option
from agegender.errors import ImageError, UsageError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from agegender.deploy.face import Face
    from agegender.deploy.predict import Predictor

    Photo = npt.NDArray[np.uint8]

EXAMPLES = """\
examples:
  %(prog)s                                          the photo test.jpg with the newest model
  %(prog)s --image=party.jpg --model runs/m50/model,12
  %(prog)s --image photos/ --model ssrnet --json > faces.jsonl
  %(prog)s --image crop.jpg --detector none         the photo is a face crop already
"""
# What a folder is searched for; a file that is named is tried whatever it is called.
PHOTO_SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".webp"),
    *(".gif", ".tif", ".tiff", ".jp2", ".ppm", ".pgm", ".pbm"),
)
# What annotated pictures can be written as.
PICTURE_SUFFIXES = (".jpg", ".jpeg", ".png")
# What nobody calls a folder: such an --output is a mistake, not the folder to make.
OTHER_SUFFIXES = (
    *(suffix for suffix in PHOTO_SUFFIXES if suffix not in PICTURE_SUFFIXES),
    *(".pdf", ".svg", ".eps", ".ps", ".psd", ".heic", ".heif", ".avif", ".jxl", ".ico", ".tga"),
    *(".txt", ".csv", ".json", ".jsonl", ".html", ".htm", ".md", ".doc", ".docx", ".zip"),
)
TEXTS = {
    "en": {
        "faces": "{image}: {n} faces, drawn in {output}",
        "one_face": "{image}: 1 face, drawn in {output}",
        "no_face": "{image}: no face found, picture in {output}",
        "failed": "{failed} of {total} photos could not be read",
        "no_window": "no window here (no display, or matplotlib has no GUI toolkit); the picture is {output}",
    },
    "zh": {
        "faces": "{image}：{n}张人脸，图片：{output}",
        "one_face": "{image}：1张人脸，图片：{output}",
        "no_face": "{image}：没有检测到人脸，图片：{output}",
        "failed": "{total}张图片中有{failed}张无法读取",
        "no_window": "无法打开窗口（没有显示器或图形界面库）；图片：{output}",
    },
}


@dataclass(frozen=True, kw_only=True)
class InferConfig:
    """Options of infer.py besides ``--image``."""

    model: str | None = option(
        None,
        help="PREFIX,EPOCH or the name of a model (default: the newest run, else the shipped one)",
        metavar="MODEL",
    )
    detector: str = option("mtcnn", help="face detector; none: each photo is a crop", choices=("mtcnn", "none"))
    det_threshold: tuple[float, ...] = option(
        (0.6, 0.7, 0.8), help="least face probabilities of P-, R- and O-Net, or O-Net's alone", metavar="P[,R,O]"
    )
    min_face: float = option(20.0, help="smallest face to look for, in pixels", metavar="PIXELS")
    template: str | None = option(
        None, help="crop template of a model that doesn't say its own: arcface or utkface", metavar="NAME"
    )
    output: str = option(
        "output",
        help="folder for the annotated pictures, or, for one photo, a file ending in "
        f"{', '.join(PICTURE_SUFFIXES)}; a name that ends in / is always a folder",
        metavar="PATH",
    )
    json: bool = option(False, help="one JSON object per photo on standard output, and nothing else there")
    distribution: bool = option(False, help="with --json: the probability of each age 0..100 as well")
    lang: str | None = option(None, help="language: en or zh (default: the locale's)", choices=("en", "zh"))
    show: bool = option(False, help="open a window as well")
    gpu_ids: str | None = option(None, help="GPU to compute on, or cpu (default: the first GPU, else CPU)", metavar="N")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's flags."""
    parser.add_argument(
        "--image",
        nargs="+",
        action="extend",
        metavar="PATH",
        help="photo or folder of photos; several may be given (default: test.jpg)",
    )
    add_options(parser, InferConfig, title="options")


def main(args: argparse.Namespace) -> int:
    """Go through the photos: 0 where all could be read, 1 where some could not."""
    from agegender.app.messages import language

    config = collect(InferConfig, args)
    lang = language(config.lang)
    photos = find_photos(args.image or ["test.jpg"])
    targets = picture_paths(photos, config.output)
    predictor = _open(config, lang=lang)
    failed = 0
    for photo, target in _progress(list(zip(photos, targets, strict=True))):
        try:
            image = _read(photo)
        except ImageError as error:
            _say(f"error: {error}", sys.stderr)
            failed += 1
            continue
        faces = predictor.predict(image)
        picture = _write_picture(image, faces, target, lang=lang)
        _report(photo, faces, target, config=config, lang=lang)
        if config.show and not _show(picture, str(photo)):
            _say(TEXTS[lang]["no_window"].format(output=target), sys.stderr)
    if failed and len(photos) > 1:
        _say(TEXTS[lang]["failed"].format(failed=failed, total=len(photos)), sys.stderr)
    return 1 if failed else 0


def find_photos(names: Sequence[str]) -> list[Path]:
    """Return the photos that ``names`` (files, folders, patterns with ``*``) mean, folders in order of name.

    Raises UsageError for a folder without photos and a pattern that nothing matches.
    """
    photos: list[Path] = []
    for name in names:
        path = Path(name).expanduser()
        if path.is_dir():
            found = sorted(file for file in path.iterdir() if file.suffix.lower() in PHOTO_SUFFIXES and file.is_file())
            if not found:
                raise UsageError(f"--image {name}: no photo lies in that folder ({' '.join(PHOTO_SUFFIXES)})")
            photos += found
        elif not path.exists() and glob.has_magic(name):
            matches = sorted(Path(match) for match in glob.glob(str(path)))  # noqa: PTH207 - patterns may be absolute
            if not matches:
                raise UsageError(f"--image {name}: no file matches")
            photos += matches
        else:
            photos.append(path)
    return list(dict.fromkeys(photos))


def picture_paths(photos: Sequence[Path], output: Path | str) -> list[Path]:
    """Return where the annotated pictures go, one per photo and none twice.

    ``output`` is a folder, or the picture itself where its name says so. Raises UsageError where that can't hold all
    pictures, is a photo itself, or is named like a file that can't be written.
    """
    path = Path(output)
    if _is_picture(output):
        if len(photos) > 1:
            raise UsageError(f"--output {output} is one picture, but there are {len(photos)} photos; name a folder")
        targets = [path]
    else:
        if path.exists() and not path.is_dir():
            raise UsageError(
                f"--output {output} is neither a folder nor a picture's name ({', '.join(PICTURE_SUFFIXES)})"
            )
        targets = _unlike(photos, path)
    originals = {identity(photo) for photo in photos}
    for target in targets:
        if identity(target) in originals:
            raise UsageError(f"--output would overwrite the photo {target}; name another folder")
    return targets


def _is_picture(output: Path | str) -> bool:
    """Tell whether ``output`` means a picture and not a folder. Raises UsageError for a file of another kind."""
    path = Path(output)
    if path.is_dir() or str(output).endswith(("/", os.sep)):
        return False
    if path.suffix.lower() in OTHER_SUFFIXES:
        raise UsageError(
            f"--output {output}: no {path.suffix} can be written, only {', '.join(PICTURE_SUFFIXES)}; "
            f"a folder of that name is {output}/"
        )
    return path.suffix.lower() in PICTURE_SUFFIXES


def _unlike(photos: Sequence[Path], folder: Path) -> list[Path]:
    """Name a picture after each photo: ``a.jpg``; a second ``a.jpg`` becomes ``a-2.jpg``."""
    taken: set[str] = set()
    targets = []
    for photo in photos:
        suffix = photo.suffix if photo.suffix.lower() in PICTURE_SUFFIXES else ".png"
        name, number = f"{photo.stem}{suffix}", 1
        while name.lower() in taken:
            number += 1
            name = f"{photo.stem}-{number}{suffix}"
        taken.add(name.lower())
        targets.append(folder / name)
    return targets


def _open(config: InferConfig, *, lang: str) -> Predictor:
    from agegender.app.messages import model_line
    from agegender.graph.checkpoint import resolve_epoch
    from agegender.graph.info import read_info
    from agegender.graph.lookup import find_model

    model = find_model(config.model)
    epoch = resolve_epoch(model.prefix, model.epoch, info=read_info(model.prefix))
    _say(model_line(model, lang, prefix=model.prefix, epoch=epoch), sys.stderr)
    from agegender.deploy.predict import open_predictor

    return open_predictor(
        model.prefix,
        epoch,
        detector=config.detector,
        thresholds=_thresholds(config.det_threshold),
        min_face=config.min_face,
        template=config.template,
        gpu_ids=config.gpu_ids,
    )


def _thresholds(given: tuple[float, ...]) -> tuple[float, float, float]:
    if len(given) == 1:
        return 0.6, 0.7, given[0]
    if len(given) != 3:
        raise UsageError(f"--det_threshold takes one number or three, not {len(given)}")
    return given[0], given[1], given[2]


def _read(path: Path) -> Photo:
    from agegender.face.photo import read_photo

    return read_photo(path)


def _write_picture(image: Photo, faces: Sequence[Face], path: Path, *, lang: str) -> Photo:
    from agegender.deploy.draw import draw_faces
    from agegender.face.photo import write_photo

    picture = draw_faces(image, faces, lang=lang)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_photo(path, picture)
    return picture


def _report(photo: Path, faces: Sequence[Face], target: Path, *, config: InferConfig, lang: str) -> None:
    if config.json:
        found = [face.to_json(distribution=config.distribution) for face in faces]
        _say(json.dumps({"image": str(photo), "faces": found}))
        return
    key = {0: "no_face", 1: "one_face"}.get(len(faces), "faces")
    _say(TEXTS[lang][key].format(image=photo, n=len(faces), output=target))
    for number, face in enumerate(faces, 1):
        _say(describe(face, number, lang))


def describe(face: Face, number: int, lang: str) -> str:
    """Return the line that is printed for a face; in English with the gender's probability and the age's interval."""
    from agegender.app.messages import say

    gender = say(face.gender or "unknown", lang)
    age = say("unknown", lang) if face.age is None else f"{face.age:.0f}"
    if lang == "en" and face.gender_probability is not None:
        gender += f" ({face.gender_probability:.2f})"
    if lang == "en" and face.age_interval is not None:
        age += f" ({face.age_interval[0]:.0f} to {face.age_interval[1]:.0f})"
    box = ", ".join(str(round(float(value))) for value in face.box)
    return say("face", lang, number=number, box=box, gender=gender, age=age)


def _progress(photos: Sequence[tuple[Path, Path]]) -> Sequence[tuple[Path, Path]]:
    """Show a bar on standard error where there are several photos and somebody watches."""
    if len(photos) < 2 or not sys.stderr.isatty():
        return photos
    from tqdm import tqdm

    bar: Sequence[tuple[Path, Path]] = tqdm(photos, unit="photo", file=sys.stderr)
    return bar


def _say(line: str, stream: TextIO | None = None) -> None:
    """Print a line at once, above the progress bar where there is one."""
    stream = stream or sys.stdout
    if "tqdm" in sys.modules:
        sys.modules["tqdm"].tqdm.write(line, file=stream)
        stream.flush()
    else:
        print(line, file=stream, flush=True)


def _show(picture: Photo, title: str) -> bool:
    """Open a window and wait until it is closed; False where this machine has none."""
    from matplotlib import pyplot

    from agegender.app.window import show_window

    figure = pyplot.figure(title)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(picture)
    axes.set_axis_off()
    shown = show_window()
    pyplot.close(figure)
    return shown
