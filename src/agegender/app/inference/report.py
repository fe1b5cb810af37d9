"""What infer.py prints: lines for people, and a progress bar where somebody watches."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from agegender.app.inference.texts import text
from agegender.app.messages import say as common
from agegender.deploy.face import Face


def say(line: str, stream: TextIO | None = None) -> None:
    """Print a line at once, on standard output by default, above the progress bar where there is one."""
    stream = stream or sys.stdout
    if "tqdm" in sys.modules:
        sys.modules["tqdm"].tqdm.write(line, file=stream)
        stream.flush()
    else:
        print(line, file=stream, flush=True)


def say_faces(image: str, faces: Sequence[Face], picture: Path | None, *, lang: str) -> None:
    """Print how many faces a photo has, where its picture is, and a line for each face."""
    key = {0: "no_face", 1: "one_face"}.get(len(faces), "faces")
    say(text(key if picture is None else f"{key}_drawn", lang, image=image, n=len(faces), output=picture))
    for number, face in enumerate(faces, 1):
        say(describe(face, number, lang))


def describe(face: Face, number: int, lang: str) -> str:
    """Return the line that is printed for a face; in English with the gender's probability and the age's interval."""
    gender = common(face.gender or "unknown", lang)
    age = common("unknown", lang) if face.age is None else f"{face.age:.0f}"
    if lang == "en" and face.gender_probability is not None and face.gender is not None:
        gender += f" ({face.gender_probability:.2f})"
    if lang == "en" and face.age_interval is not None and face.age is not None:
        age += f" ({face.age_interval[0]:.0f} to {face.age_interval[1]:.0f})"
    if lang == "en" and face.age_deviation is not None:
        age += f" ±{face.age_deviation:.1f}"
    box = ", ".join(str(round(float(value))) for value in face.box)
    return common("face", lang, number=number, box=box, gender=gender, age=age)


class Progress:
    """A bar on standard error where somebody watches it, else nothing.

    ``count`` yields something for each photo that there is, None where nobody can know beforehand; it is run through
    in a thread, until which the bar has no end. ``shown`` False is for a single photo.
    """

    def __init__(self, count: Callable[[], Iterable[object]] | None, *, shown: bool = True) -> None:
        self._bar: Any = None
        self._closed = False
        if not shown or not sys.stderr.isatty():
            return
        from tqdm import tqdm

        self._bar = tqdm(unit="photo", file=sys.stderr, dynamic_ncols=True)
        if count is not None:
            threading.Thread(target=self._count, args=(count,), name="photo-counter", daemon=True).start()

    def step(self, *, skipped: bool = False) -> None:
        """Count a photo; one that was ``skipped`` doesn't count for the speed."""
        if self._bar is None:
            return
        if skipped:
            self._bar.initial += 1
        self._bar.update()

    def close(self) -> None:
        """End the bar's line."""
        self._closed = True
        if self._bar is not None:
            self._bar.close()

    def _count(self, count: Callable[[], Iterable[object]]) -> None:
        total = 0
        for _ in count():
            total += 1
            if self._closed:
                return
        self._bar.total = total


def show(picture: npt.NDArray[np.uint8], title: str) -> bool:
    """Open ``picture`` (H, W, 3) uint8 RGB in a window until it is closed; False where this machine has none."""
    from matplotlib import pyplot

    from agegender.app.window import show_window

    figure = pyplot.figure(title)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(picture)
    axes.set_axis_off()
    shown = show_window()
    pyplot.close(figure)
    return shown
