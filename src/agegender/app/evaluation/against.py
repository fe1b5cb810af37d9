"""``eval --against insightface``: our model beside insightface's genderage on the same faces."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from agegender.app.evaluation.compare import compare
from agegender.app.evaluation.faces import MIN_FACE
from agegender.app.evaluation.images import Image, ImageSource, ListImages, RecordImages
from agegender.app.evaluation.sides import Predictions, Run, predictions
from agegender.app.evaluation.texts import tell
from agegender.dataset.crop import find_face
from agegender.dataset.list_file import read_list
from agegender.deploy.insight_detector import PACKS, USUAL_PACK, WHERE_FROM
from agegender.deploy.insightface_task import POINTS_IN_BOX
from agegender.errors import CheckpointError, DataError, DeviceError, UsageError
from agegender.executor.onnx_runtime import choose_providers, load_onnxruntime, session_options
from agegender.face.detector import Detector
from agegender.face.templates import TEMPLATES, Template
from agegender.pipeline.set_info import read_set_info
from agegender.recordio import open_records

NAME = "insightface"
FILE = "genderage.onnx"
# The window that insightface cuts out, in longer sides of the face's box.
MARGIN = 1.5
_BATCH = 64

Box = npt.NDArray[np.float64]
# From the image of a row to the face's box in it, None where no face is found.
FindBox = Callable[[int, Image], Box | None]


class GenderAge:
    """insightface's genderage network in ``path``: two logits, female and male, and the age divided by 100.

    Loaded by insightface's own class, which tells from the graph how pixels go in. Raises DeviceError where insightface
    or ONNX Runtime isn't installed, CheckpointError for a file of another layout.
    """

    def __init__(self, path: Path, *, gpu_ids: str | None = None) -> None:
        if importlib.util.find_spec("insightface") is None:
            raise DeviceError("--against needs insightface, which is not installed here: pip install insightface")
        runtime = load_onnxruntime()
        from insightface.model_zoo.attribute import Attribute

        try:
            session = runtime.InferenceSession(
                str(path), sess_options=session_options(), providers=choose_providers(gpu_ids)
            )
            self._net: Any = Attribute(model_file=str(path), session=session)
        except (DeviceError, DataError):
            raise
        except Exception as error:
            # ONNX Runtime's errors have no base of their own.
            reason = str(error).strip().partition("\n")[0] or type(error).__name__
            raise CheckpointError(f"{path}: insightface can't load it: {reason}") from error
        shape = list(self._net.input_shape)
        square = len(shape) == 4 and isinstance(shape[2], int) and shape[2] == shape[3]
        if self._net.taskname != "genderage" or not square:
            raise CheckpointError(
                f"{path} is not insightface's genderage: it takes {shape} and is for {self._net.taskname}, "
                "not (n, 3, 96, 96) and for genderage"
            )
        self.path = path
        self.size: int = shape[2]
        self.batch = 1 if shape[0] == 1 else _BATCH

    def window(self, image: Image, box: Box) -> tuple[Image, float]:
        """Return what the net sees of ``image`` (h, w, 3) uint8 RGB: (size, size, 3), and which share lies outside.

        1.5 times the longer side of ``box`` (4,) x1, y1, x2, y2, around its middle, upright; black beyond the image.
        """
        from insightface.utils.face_align import transform

        middle, longer = (box[:2] + box[2:]) / 2, float((box[2:] - box[:2]).max())
        half = MARGIN * longer / 2
        cut, _ = transform(image, middle, self.size, self.size / (2 * half), 0)
        height, width = image.shape[:2]
        seen = np.minimum(middle + half, (width, height)) - np.maximum(middle - half, 0)
        return np.asarray(cut, np.uint8), 1 - float(np.maximum(seen, 0).prod()) / (2 * half) ** 2

    def read(self, windows: Sequence[Image]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Return probability of male and age in years (n,) of windows; the age isn't rounded, as insightface's is."""
        net = self._net
        data = (np.stack(windows).transpose(0, 3, 1, 2).astype(np.float32) - net.input_mean) / net.input_std
        told = np.asarray(net.session.run(net.output_names, {net.input_name: data.astype(np.float32)})[0], np.float64)
        # Of two equal logits insightface takes the first, female; so does a probability of a half.
        return 1 / (1 + np.exp(told[:, 0] - told[:, 1])), 100 * told[:, 2]


def find_genderage(name: str) -> Path:
    """Return the file that ``--against`` means: ``insightface`` for that of an installed pack, else a file or folder.

    Raises UsageError, with where to get it and under what licence, where there is none.
    """
    if name == NAME:
        packs = PACKS.expanduser()
        found = sorted(packs.glob(f"*/{FILE}"), key=lambda path: (path.parent.name != USUAL_PACK, str(path)))
        if found:
            return found[0]
        problem = f"there is no {FILE} in {packs}/*/ (the pack {USUAL_PACK} holds it)"
    else:
        path = Path(name).expanduser()
        if path.is_dir():
            path = path / FILE
        if path.is_file():
            return path
        problem = f"{path} does not exist"
    raise UsageError(f"--against {name}: {problem}. {WHERE_FROM}; --against PATH names a file elsewhere")


def run_against(
    net: GenderAge,
    ours: Run,
    *,
    data: Path,
    label_order: str | None,
    by: Sequence[str],
    csv: str | None,
    lang: str,
) -> int:
    """Run insightface's ``net`` on the faces of ``data`` that ``ours`` was scored on, and compare them.

    The box that insightface would have from its detector is, for crops, that of an average face whose five points lie
    where the crop's template has them (the model's where the set names none), and for photos what our detector finds.
    Returns 0, or 1 where bad records were left out. Raises UsageError where nobody knows the crops' template.
    """
    mine = predictions(ours)
    images, find_box = _open_images(data, label_order, ours.crop.template)
    theirs, outside = run_net(net, mine, ours.results.rows, images, find_box)
    print("\n".join(compare(mine, theirs, by=by, csv=csv, lang=lang)))
    if outside > 0.01:
        print(tell("window", lang, name=net.path.name, share=outside))
    return int(bool(ours.skipped))


def run_net(
    net: GenderAge,
    mine: Predictions,
    rows: npt.NDArray[np.int64],
    images: ImageSource,
    find_box: FindBox,
) -> tuple[Predictions, float]:
    """Return what ``net`` tells of the images at ``rows``, with the labels of ``mine``, and the mean share outside."""
    kept: list[int] = []
    male: list[float] = []
    age: list[float] = []
    windows: list[Image] = []
    outside: list[float] = []

    def flush() -> None:
        if windows:
            genders, years = net.read(windows)
            male.extend(genders.tolist())
            age.extend(years.tolist())
            windows.clear()

    for place, row in enumerate(rows.tolist()):
        image, _ = images.read(row)
        box = find_box(row, image)
        if box is None:
            continue
        window, share = net.window(image, box)
        kept.append(place)
        windows.append(window)
        outside.append(share)
        if len(windows) == net.batch:
            flush()
    flush()
    labelled = mine.take(kept)
    theirs = Predictions(
        name=str(net.path),
        keys=labelled.keys,
        names=labelled.names,
        gender=labelled.gender,
        age=labelled.age,
        male=np.array(male),
        predicted=np.array(age),
        bins=labelled.bins,
    )
    return theirs, float(np.mean(outside)) if outside else 0.0


def box_of(template: Template, side: int) -> Box:
    """Return the box (4,) of an average face whose points lie where ``template`` has them, in a crop of ``side``.

    Least squares over the five points, each axis by itself.
    """
    points = template.pixels(side)
    lines = [np.polyfit(POINTS_IN_BOX[:, axis], points[:, axis], 1) for axis in (0, 1)]
    return np.array([line[1] for line in lines] + [line[0] + line[1] for line in lines])


def _open_images(path: Path, label_order: str | None, template: Template | None) -> tuple[ImageSource, FindBox]:
    """Return the images of ``path``, and what finds the face in one."""
    if path.suffix == ".rec" or "*" in path.name:
        records = open_records(path)
        info = read_set_info(records.path)
        crops = template if info is None else Template.from_json(info.template)[0]
        if crops is None:
            raise UsageError(f"{path} doesn't say what crop template it is in, so nobody knows where the face's box is")
        of = crops
        order = label_order or ("gender,age" if info is None else info.labels)
        return RecordImages(records, label_order=order), lambda _, image: box_of(of, image.shape[1])
    samples = read_list(path)
    detectors: list[Detector] = []

    def find_box(row: int, image: Image) -> Box | None:
        known = samples[row].template
        if known in TEMPLATES:
            return box_of(TEMPLATES[known], image.shape[1])
        if not detectors:
            from agegender.deploy.mtcnn import open_mtcnn

            detectors.append(open_mtcnn(min_face=MIN_FACE))
        found = find_face(image, detectors[0], min_face=MIN_FACE)
        return None if found is None else found.box.astype(np.float64)

    return ListImages(samples, template=None), find_box
