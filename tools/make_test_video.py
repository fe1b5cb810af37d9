"""Make a short video of the two people of test.jpg, who walk past each other: something to try infer.py --video on.

python tools/make_test_video.py crossing.mp4
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from agegender.deploy.video import VideoFileWriter
from agegender.errors import AgeGenderError
from agegender.face.photo import read_photo

ROOT = Path(__file__).resolve().parents[1]
Photo = npt.NDArray[np.uint8]
Values = npt.NDArray[np.float64]
WIDTH, HEIGHT, FPS = 640, 360, 25
# Of each head in test.jpg: x, y and half its height.
HEADS = ((738, 193, 92), (225, 117, 54))
HEAD_HEIGHT = 130


def main() -> int:
    """Draw the frames and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("output", type=Path, nargs="?", default=Path("crossing.mp4"), help="video to write")
    parser.add_argument("--frames", type=int, default=75, help="how many, 25 a second (default: 75)")
    args = parser.parse_args()
    try:
        people = read_photo(ROOT / "test.jpg")
        noise = np.random.default_rng(0)
        with VideoFileWriter(args.output, fps=FPS, size=(WIDTH, HEIGHT)) as writer:
            for index in range(args.frames):
                writer.write(_frame(people, index / max(args.frames - 1, 1), noise))
    except AgeGenderError as error:
        print(f"make_test_video.py: error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{args.output}: {args.frames} frames")
    return 0


def _frame(people: Photo, time: float, noise: np.random.Generator) -> Photo:
    """Return (HEIGHT, WIDTH, 3) uint8 RGB at ``time`` 0..1: one goes right, the other left and in front."""
    image: Values = np.full((HEIGHT, WIDTH, 3), 90.0)
    for head, x, y in ((HEADS[0], 110 + 420 * time, 170), (HEADS[1], 530 - 420 * time, 185)):
        image = _paste(image, people, head, (x, y))
    return np.asarray(np.clip(image + noise.normal(0, 4, image.shape), 0, 255), np.uint8)


def _paste(ground: Values, people: Photo, head: tuple[int, int, int], place: tuple[float, float]) -> Values:
    x, y, half = head
    scale = HEAD_HEIGHT / 2 / half
    matrix = np.array([[scale, 0, place[0] - scale * x], [0, scale, place[1] - scale * y]])
    mask = np.zeros(people.shape[:2], np.uint8)
    cv2.ellipse(mask, (x, y), (round(half * 1.3), round(half * 1.6)), 0, 0, 360, (255,), -1)
    share = cv2.warpAffine(mask, matrix, (WIDTH, HEIGHT))[..., None] / 255
    pasted = cv2.warpAffine(people, matrix, (WIDTH, HEIGHT), flags=cv2.INTER_AREA)
    return np.asarray(pasted * share + ground * (1 - share), np.float64)


if __name__ == "__main__":
    sys.exit(main())
