"""Write or check models/manifest.json: the SHA-256 of every shipped weight file.

python tools/manifest.py write
python tools/manifest.py check
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from agegender.files import sha256_file, write_json

MODELS = Path(__file__).resolve().parents[1] / "models"
SHIPPED = ("*.params", "*.json")


def main() -> int:
    """Write the manifest, or compare it with the files: 1 where they differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("write", "check"))
    args = parser.parse_args()
    found, path = describe(MODELS), MODELS / "manifest.json"
    if args.action == "write":
        write_json(path, found)
        print(f"{path}: {len(found['files'])} files")
        return 0
    listed = json.loads(path.read_text(encoding="utf-8"))
    wrong = [
        name
        for name in sorted({*found["files"], *listed["files"]})
        if found["files"].get(name) != listed["files"].get(name)
    ]
    for name in wrong:
        print(f"{name}: differs from the manifest, is missing, or isn't listed", file=sys.stderr)
    return 1 if wrong else 0


def describe(models: Path) -> dict[str, Any]:
    """Return the manifest of the folder ``models``: bytes and SHA-256 by path relative to it, sorted."""
    paths = sorted(path for pattern in SHIPPED for path in models.glob(f"*/{pattern}"))
    files = {
        path.relative_to(models).as_posix(): {"bytes": path.stat().st_size, "sha256": sha256_file(path)}
        for path in paths
    }
    return {"format": 1, "files": dict(sorted(files.items()))}


if __name__ == "__main__":
    sys.exit(main())
