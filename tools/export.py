"""Export a model to ONNX, also in eight bits, or to a pair without ranges for phones: python tools/export.py ssrnet"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from agegender.app.cli import run

if __name__ == "__main__":
    run("export")
