"""Convert the weights of the PyPI package ``mtcnn`` 1.0.0 (MIT) into models/mtcnn/*.params, once and for all.

    python -m pip install --no-deps mtcnn==1.0.0 joblib lz4 && python tools/convert_mtcnn.py

Those weights are the original ones of Zhang et al. in TensorFlow's layout, pickled. This tool is the only place that
unpickles them, after it checked that they are the very files it knows.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from agegender.errors import AgeGenderError, CheckpointError, UsageError
from agegender.files import sha256_file
from agegender.graph.params import save_params

ROOT = Path(__file__).resolve().parents[1]
Floats = npt.NDArray[np.float32]

# SHA-256 of the files of mtcnn 1.0.0: nothing else is unpickled.
KNOWN = {
    "pnet": "ea6b0c3e685ebee3165326ad6484acc95f2ef78f1c94fbf40a55704fa989f7b5",
    "rnet": "cb00e6460f3c98b0bfafaba3c0a0ded4bdf6e62cee7174d969e8670d7e757fee",
    "onet": "94f6ea2f4cf985275ee958cdd762d17b6009348a4fb9d8c6be39ba73ffd22ca3",
}
# Layers in the order of the package's lists. A PReLU brings one array, every other layer weight and bias.
LAYERS = {
    "pnet": ("conv1", "prelu1", "conv2", "prelu2", "conv3", "prelu3", "conv4_2", "conv4_1"),
    "rnet": ("conv1", "prelu1", "conv2", "prelu2", "conv3", "prelu3", "fc4", "prelu4", "fc5_2", "fc5_1"),
    "onet": (
        *("conv1", "prelu1", "conv2", "prelu2", "conv3", "prelu3", "conv4", "prelu4"),
        *("fc5", "prelu5", "fc6_2", "fc6_3", "fc6_1"),
    ),
}
# The dense layer that reads a map, and that map's height, width and channels.
FIRST_DENSE = {"rnet": ("fc4", (3, 3, 64)), "onet": ("fc5", (3, 3, 128))}


def main() -> int:
    """Convert all three networks into the folder ``--output``."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "models" / "mtcnn", help="folder for *.params")
    args = parser.parse_args()
    try:
        source = find_weights()
        args.output.mkdir(parents=True, exist_ok=True)
        for net in KNOWN:
            path = args.output / f"{net}-0001.params"
            save_params(path, convert(net, unpickle(net, source / f"{net}.lz4")))
            print(f"{path}: {path.stat().st_size:,} bytes, sha256 {sha256_file(path)}")
    except AgeGenderError as error:
        print(f"convert_mtcnn.py: error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


def find_weights() -> Path:
    """Return the weights folder of the installed package, found without importing it: that would need TensorFlow.

    Raises UsageError where it isn't installed.
    """
    spec = importlib.util.find_spec("mtcnn")
    if spec is None or spec.origin is None:
        raise UsageError("the package mtcnn is not installed: pip install --no-deps mtcnn==1.0.0 joblib lz4")
    return Path(spec.origin).parent / "assets" / "weights"


def unpickle(net: str, path: Path) -> list[Floats]:
    """Return the arrays of one network. Raises CheckpointError where the file isn't the known one."""
    if not path.is_file() or sha256_file(path) != KNOWN[net]:
        raise CheckpointError(f"{path}: not the weights of mtcnn 1.0.0; nothing else is unpickled")
    import joblib  # comes with mtcnn, which is no dependency of ours

    return list(joblib.load(path))


def convert(net: str, arrays: list[Floats]) -> dict[str, Floats]:
    """Return MXNet parameters (``arg:conv1_weight`` ...) from the package's ``arrays`` in TensorFlow's layout."""
    left = iter(arrays)
    params: dict[str, Floats] = {}
    for layer in LAYERS[net]:
        if layer.startswith("prelu"):
            params[f"arg:{layer}_gamma"] = next(left).reshape(-1)
            continue
        params[f"arg:{layer}_weight"] = np.ascontiguousarray(_weight(net, layer, next(left)))
        params[f"arg:{layer}_bias"] = next(left)
    if any(True for _ in left):
        raise CheckpointError(f"{net}: more arrays than layers; not the weights of mtcnn 1.0.0")
    return params


def _weight(net: str, layer: str, weight: Floats) -> Floats:
    """Bring a kernel (h, w, in, out) to (out, in, h, w), a dense matrix (in, out) to (out, in)."""
    if weight.ndim == 4:
        return weight.transpose(3, 2, 0, 1)
    first, (height, width, channels) = FIRST_DENSE[net]
    if layer != first:
        return weight.T
    # The package flattens a map as (w, h, c), MXNet as (c, h, w).
    units = weight.shape[1]
    return weight.reshape(width, height, channels, units).transpose(3, 2, 1, 0).reshape(units, -1)


if __name__ == "__main__":
    sys.exit(main())
