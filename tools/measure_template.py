"""Measure the crop template of a folder of aligned faces: where MTCNN finds the five points, as shares of the side.

python tools/measure_template.py dataset/UTKFace --count 500

Each image is extended by its border pixels, so that faces that fill it are found too. The mean over the faces is what
agegender.face.templates holds for the templates that were measured.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from agegender.deploy.mtcnn import open_mtcnn
from agegender.errors import AgeGenderError, DataError
from agegender.face.detector import Detector, largest_central
from agegender.face.photo import read_photo

POINTS = ("left eye", "right eye", "nose", "left mouth corner", "right mouth corner")
SUFFIXES = (".jpg", ".jpeg", ".png")
# Shares of the side: what is added around an image, and the smallest face that is looked for.
MARGIN = 0.3
SMALLEST = 0.4


def main() -> int:
    """Print the mean and the spread of each point."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of aligned square face images")
    parser.add_argument("--count", type=int, default=500, help="how many images, drawn at random (default: 500)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw (default: 0)")
    args = parser.parse_args()
    try:
        paths = sorted(path for path in args.folder.rglob("*") if path.suffix.lower() in SUFFIXES)
        if not paths:
            raise DataError(f"{args.folder} holds no images ({', '.join(SUFFIXES)})")
        chosen = np.random.default_rng(args.seed).permutation(len(paths))[: args.count]
        points = measure([paths[number] for number in chosen], open_mtcnn())
    except AgeGenderError as error:
        print(f"measure_template.py: error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"faces found in {len(points)} of {len(chosen)} images")
    for name, mean, spread in zip(POINTS, points.mean(axis=0), points.std(axis=0)):
        print(f"{name:18} x {mean[0]:.3f} +- {spread[0]:.3f}   y {mean[1]:.3f} +- {spread[1]:.3f}")
    return 0


def measure(paths: list[Path], detector: Detector) -> npt.NDArray[np.float64]:
    """Return (n, 5, 2) x, y as shares of the side, of the faces that were found. Raises DataError when none was."""
    found = []
    for path in tqdm(paths, unit="face"):
        image = read_photo(path)
        side = max(image.shape[:2])
        margin = round(MARGIN * side)
        wide = np.pad(image, ((margin, margin), (margin, margin), (0, 0)), mode="edge")
        face = largest_central(detector.detect(wide, min_face=SMALLEST * side), wide.shape)
        if face is not None:
            found.append((face.landmarks - margin) / (image.shape[1], image.shape[0]))
    if not found:
        raise DataError(f"the detector finds no face in the {len(paths)} images")
    return np.array(found, np.float64)


if __name__ == "__main__":
    sys.exit(main())
