"""Serve age and gender from faces over HTTP: python serve.py --model ssrnet --port 8000"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from agegender.app.cli import run

if __name__ == "__main__":
    run("serve")
