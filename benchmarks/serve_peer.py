"""The peer of benchmarks/serve.py: the same Predictor behind Flask, one request at a time.

python benchmarks/serve_peer.py --model ssrnet --detector mtcnn --threads 2
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "src"), str(ROOT)]

if TYPE_CHECKING:
    from flask import Flask

    from agegender import Predictor

MAX_PIXELS = 50_000_000


def create_app(predictor: Predictor, name: str) -> Flask:
    """Return a Flask application that answers ``POST /v1/analyze`` with what the service answers, but for timings."""
    from flask import Flask, jsonify, request

    from agegender.service.pictures import decode_picture

    app = Flask(__name__)
    # As the service writes it.
    app.json.sort_keys = False  # type: ignore[attr-defined]

    @app.post("/v1/analyze")
    def analyze() -> Any:
        data = request.get_data()
        image = decode_picture(data, max_pixels=MAX_PIXELS)
        faces = [face.to_json() for face in predictor.predict(image)]
        height, width = image.shape[:2]
        known = {"index": 0, "name": "", "sha256": hashlib.sha256(data).hexdigest(), "width": width, "height": height}
        return jsonify({"model": name, "images": [{**known, "faces": faces}]})

    return app


def main() -> int:
    """Listen on a free port of this machine, and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="ssrnet")
    parser.add_argument("--detector", default="mtcnn")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    from werkzeug.serving import make_server

    from agegender import Predictor

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    predictor = Predictor(args.model, detector=args.detector, gpu_ids="cpu", threads=args.threads)
    server = make_server("127.0.0.1", 0, create_app(predictor, args.model), threaded=False)
    print(f"listening on http://127.0.0.1:{server.server_port}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
