"""Small trees of real faces in the layouts of public sets, cut from the test photo, so that the detector finds them."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

# Two faces of test.jpg with about half their width around them: left, top, right, bottom.
_PLACES = ((560, 0, 910, 390), (130, 0, 320, 235))
_IMDB_COLUMNS = ("dob", "photo_taken", "gender", "face_score", "second_face_score")

Picture = npt.NDArray[np.uint8]


class FaceSets:
    """Writes sets of ``count`` faces under ``root``; no two pictures are the same."""

    def __init__(self, root: Path, photo: Path, *, count: int) -> None:
        self.root, self.count = root, count
        image = cv2.imread(str(photo))
        assert image is not None
        self._photo = image
        self._written = 0

    def picture(self, path: Path) -> None:
        """Write one of the faces, a little darker each time."""
        left, top, right, bottom = _PLACES[self._written % len(_PLACES)]
        face = self._photo[top:bottom, left:right].astype(np.int16) - self._written % 90
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), np.clip(face, 0, 255).astype(np.uint8))
        self._written += 1

    def imdb_wiki(self, table: str) -> None:
        """``imdb_crop/imdb.mat`` or ``wiki_crop/wiki.mat`` and the images that it names."""
        from scipy.io import savemat

        folder, paths = self.root / f"{table}_crop", np.empty((1, self.count), object)
        names, boxes = np.empty((1, self.count), object), np.empty((1, self.count), object)
        for number in range(self.count):
            paths[0, number] = f"{number % 3:02d}/nm{number:07d}_rm{number}_1950-1-1_1980.jpg"
            names[0, number], boxes[0, number] = f"Person {number}", np.array([[10.0, 20.0, 110.0, 130.0]])
            self.picture(folder / paths[0, number])
        day = 730486 + (date(1950, 1, 1) - date(2000, 1, 1)).days
        taken = [1955 + 3 * number % 70 for number in range(self.count)]
        columns = ([day] * self.count, taken, [n % 2 for n in range(self.count)], [2.0] * self.count)
        value: dict[str, Any] = {
            name: np.array([column], float)
            for name, column in zip(_IMDB_COLUMNS, [*columns, [float("nan")] * self.count], strict=True)
        }
        savemat(folder / f"{table}.mat", {table: {**value, "full_path": paths, "name": names, "face_location": boxes}})

    def megaage_asian(self) -> None:
        """``megaage_asian/{train,test}`` and the lists of names and ages."""
        folder = self.root / "megaage_asian"
        for part, count in (("train", self.count), ("test", 4)):
            (folder / "list").mkdir(parents=True, exist_ok=True)
            for number in range(count):
                self.picture(folder / part / f"{number + 1}.jpg")
            lines = {"name": [f"{number + 1}.jpg" for number in range(count)]}
            lines["age"] = [str(3 * number % 70) for number in range(count)]
            for column, values in lines.items():
                (folder / "list" / f"{part}_{column}.txt").write_text("\n".join(values) + "\n")

    def adience(self) -> None:
        """Five folds of users with aligned and raw images."""
        folder, bins = self.root / "Adience", ("(0, 2)", "(25, 32)", "(21, 24)", "(60, 100)", "35")
        head = "user_id\toriginal_image\tface_id\tage\tgender\tx\ty\tdx\tdy\ttilt_ang\tfiducial_yaw_angle"
        for fold in range(5):
            rows = [head]
            for number in range(self.count // 4):
                user, name = f"{fold}{number}@N00", f"{fold}{number}_b.jpg"
                rows.append(f"{user}\t{name}\t{number}\t{bins[number % 5]}\t{'fm'[number % 2]}\t0\t0\t9\t9\t0\t0")
                self.picture(folder / "aligned" / user / f"landmark_aligned_face.{number}.{name}")
                self.picture(folder / "faces" / user / f"coarse_tilt_aligned_face.{number}.{name}")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"fold_{fold}_data.txt").write_text("\n".join(rows) + "\n")

    def afad(self) -> None:
        """``AFAD-Full/<age>/<111 or 112>``."""
        for number in range(self.count):
            self.picture(self.root / "AFAD-Full" / f"{20 + number}" / f"11{1 + number % 2}" / f"{number}.jpg")

    def agedb(self) -> None:
        """``AgeDB/<number>_<Name>_<age>_<m or f>.jpg``."""
        for number in range(self.count):
            self.picture(self.root / "AgeDB" / f"{number}_Person{number}_{20 + number}_{'mf'[number % 2]}.jpg")
