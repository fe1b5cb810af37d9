"""Pack the face datasets under dataset/ into RecordIO: python create_dataset.py --help"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from agegender.app.cli import run

if __name__ == "__main__":
    run("pack")
