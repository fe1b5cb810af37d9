"""Make test.jpg: two people side by side, from public-domain portraits that come with two dependencies.

    python tools/make_test_photo.py

Eileen Collins (NASA; ``skimage.data.astronaut``) and Grace Hopper (US Navy; matplotlib's sample ``grace_hopper.jpg``).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import skimage.data
from matplotlib import cbook

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from agegender.face.photo import read_photo, write_photo

ROOT = Path(__file__).resolve().parents[1]
HEIGHT = 512


def main() -> int:
    """Write the photo."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "test.jpg", help="file to write")
    args = parser.parse_args()
    write_photo(args.output, make_photo())
    print(args.output)
    return 0


def make_photo() -> npt.NDArray[np.uint8]:
    """Return both portraits (512, w, 3) uint8 RGB, at the same height."""
    sample = cbook.get_sample_data("grace_hopper.jpg", asfileobj=False)
    collins = np.asarray(skimage.data.astronaut(), np.uint8)  # type: ignore[no-untyped-call]
    return np.concatenate([_at_height(portrait) for portrait in (collins, read_photo(str(sample)))], axis=1)


def _at_height(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    width = round(image.shape[1] * HEIGHT / image.shape[0])
    return np.asarray(cv2.resize(image, (width, HEIGHT), interpolation=cv2.INTER_AREA), np.uint8)


if __name__ == "__main__":
    sys.exit(main())
