"""Serve age and gender over HTTP on several machines, with Ray Serve: python serve_ray.py --address auto"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from agegender.app.cli import run

if __name__ == "__main__":
    run("serve_ray")
