"""Train a network: python train.py --network m50 --gpu_ids 0,1"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from agegender.app.cli import run

if __name__ == "__main__":
    run("train")
