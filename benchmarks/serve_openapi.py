"""Requests made up from the service's own OpenAPI description, as many as wanted, sound and unsound ones.

python benchmarks/serve_openapi.py
python benchmarks/serve_openapi.py --examples 10000

schemathesis makes them up, sends them to a service on this machine, and compares each answer with the description:
no 5xx, no status, type or field that is not described, nothing taken that the description forbids. Beside photos it
asks about embeddings, with a net of random weights. Where the description says "bytes" they are mostly no picture, and
rightly refused; that all that fits the description is taken is therefore only checked with --all_checks.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

from benchmarks.serve import started  # noqa: E402
from benchmarks.serve_faults import ask  # noqa: E402

# Wider ones take schemathesis minutes each to make up.
WIDTH = 8
# Bytes that are no picture fit the description.
UNCHECKED = "positive_data_acceptance"
_WIDEST = 300
FLAGS = ("--max_body", "1", "--min_face", "60")


def main() -> int:
    """Print what was asked and what came back. Returns 1 where an answer is not as described."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=int, default=3_400, help="requests to each of the three POST routes")
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--all_checks", action="store_true", help="also whether what is sound is taken")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        net = write_vector_net(Path(folder) / "vectors")
        command = ["serve.py", "--model", "ssrnet", "--port", "0", "--embedding_model", f"{net},1", *FLAGS]
        with started(command) as server:
            photo = (ROOT / "test.jpg").read_bytes()
            ask(server.port, photo)
            before = server.resident()
            ended, report = fuzz(server.port, args, Path(folder))
            after, sound = server.resident(), ask(server.port, photo)[0]
            ready = ask(server.port, b"", path="/readyz", method="GET")[0]
    cases, operations = report["test_cases"], report["operations"]
    print(f"schemathesis {report['schemathesis_version']}, seed {args.seed}, {operations['tested']} routes")
    print(f"  {cases['generated']:,} requests in {report['running_time']:.0f} s")
    print(f"  not as described: {cases['unique_failures']} kinds, {cases['with_failures']} requests")
    print(f"  RSS {before:.0f} MB before, {after:.0f} after; then a sound photo: {sound}, /readyz: {ready}")
    return int(ended != 0 or not report["complete"] or (sound, ready) != (200, 200))


def fuzz(port: int, args: argparse.Namespace, folder: Path) -> tuple[int, dict[str, Any]]:
    """Let schemathesis ask the service at ``port``; return its exit code and its report."""
    found = folder / "report.json"
    checks = [] if args.all_checks else ["--exclude-checks", UNCHECKED]
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "run", f"http://127.0.0.1:{port}/openapi.json"),
        *("--max-examples", str(args.examples), "--seed", str(args.seed), "--continue-on-failure", "--no-color"),
        *("--report", "json", "--report-json-path", str(found), *checks),
    ]
    ended = subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True)
    if ended.returncode:
        # Requests are shown whole, and may have megabytes.
        print("\n".join(line[:_WIDEST] for line in ended.stdout.splitlines()))
    report: dict[str, Any] = json.loads(found.read_text())
    return ended.returncode, report


def write_vector_net(prefix: Path) -> Path:
    """Write a net of random weights that tells gender and age of embeddings; return its prefix."""
    import numpy as np

    from agegender.graph import Graph, ModelInfo, save_checkpoint, write_info
    from symbols.lazy import mx

    heads = []
    params = {}
    random = np.random.default_rng(0)
    for name, units in (("gender", 2), ("age", 101)):
        layer = mx.sym.FullyConnected(mx.sym.Variable("data"), num_hidden=units, name=f"{name}_fc")
        heads.append(mx.sym.softmax(layer, name=f"{name}_softmax"))
        params[f"arg:{name}_fc_weight"] = random.normal(0, 0.1, (units, WIDTH)).astype(np.float32)
        params[f"arg:{name}_fc_bias"] = np.zeros(units, np.float32)
    save_checkpoint(prefix, 1, graph=Graph.from_json(mx.sym.Group(heads).tojson()), params=params)
    info = ModelInfo(network="vectors", input={"shape": [WIDTH, 1, 1]}, best=1, last=1)
    for part in ("gender", "distribution"):
        output = "gender" if part == "gender" else "age"
        info.readout[part] = {"outputs": [f"{output}_softmax_output"], "form": "probabilities"}
    info.readout["layout"] = "dex"
    write_info(prefix, info)
    return prefix


if __name__ == "__main__":
    sys.exit(main())
