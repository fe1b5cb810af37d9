"""Make embeddings of packed faces with a face recogniser: python tools/embed.py --model w600k_r50.onnx"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from agegender.app.cli import run

if __name__ == "__main__":
    run("embed")
