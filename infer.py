"""Age and gender of the faces in photos: python infer.py --image=test.jpg"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from agegender.app.cli import run

if __name__ == "__main__":
    run("infer")
