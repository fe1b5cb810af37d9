"""Draw the age distribution of lists or records: python show_age_distribution.py --help"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "src"))

from agegender.app.cli import run

if __name__ == "__main__":
    run("ages")
