"""Serve age and gender from faces over HTTP, for many clients at once."""

from __future__ import annotations

import argparse
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agegender.config import add_options, collect, option
from agegender.deploy.detectors import DETECTORS
from agegender.errors import UsageError
from agegender.executor import EXECUTORS
from agegender.packages import require_packages
from agegender.service.config import ServiceConfig

if TYPE_CHECKING:
    from agegender.app.inference.config import InferConfig
    from agegender.deploy.vector_net import VectorNet
    from agegender.service.guard import Tokens
    from agegender.service.service import Service

EXAMPLES = """\
examples:
  %(prog)s                                          the newest model, for this machine only
  %(prog)s --model ssrnet --port 9000
  AGEGENDER_TOKENS=... %(prog)s --host 0.0.0.0      for others, who need the token
  curl --data-binary @photo.jpg -H "Content-Type: image/jpeg" http://127.0.0.1:8000/v1/analyze
"""
TOKENS_VARIABLE = "AGEGENDER_TOKENS"
# A shorter one can be guessed.
SHORTEST_TOKEN = 16
# What requirements-serve.txt is there for, by the names they are imported by.
PACKAGES = ("uvicorn", "fastapi", "pydantic", "prometheus_client", "python_multipart")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ServedConfig:
    """What is served."""

    model: str | None = option(
        None,
        help="PREFIX,EPOCH, the name of a model or an .onnx file (default: the newest run, else the shipped model)",
        metavar="MODEL",
    )
    age_model: str | None = option(
        None, help="with --gender_model, instead of --model: the net that tells the age", metavar="MODEL"
    )
    gender_model: str | None = option(
        None, help="with --age_model, instead of --model: the net that tells the gender", metavar="MODEL"
    )
    embedding_model: str | None = option(
        None, help="a net on embeddings, for clients that send those instead of photos", metavar="MODEL"
    )
    template: str | None = option(
        None, help="crop template of a model that doesn't say its own: arcface or utkface", metavar="NAME"
    )
    min_confidence: float = option(
        0.0, help="don't tell the gender of a face where its probability is below this", metavar="P"
    )
    detector: str = option("mtcnn", help="face detector; none: each photo is a crop", choices=DETECTORS)
    det_model: str | None = option(None, help="weights of the detector, where not those it brings", metavar="PATH")
    det_threshold: tuple[float, ...] = option(
        (0.6, 0.7, 0.8),
        help="least face probabilities of mtcnn's P-, R- and O-Net, or O-Net's or another detector's alone",
        metavar="P[,R,O]",
    )
    min_face: float = option(20.0, help="smallest face to look for, in pixels", metavar="PIXELS")
    engine: str = option(
        "auto", choices=("auto", *EXECUTORS), help="what runs the model; auto: onnxruntime where it is installed"
    )
    gpu_ids: str | None = option(None, help="GPU to compute on, or cpu (default: the first GPU, else CPU)", metavar="N")
    session_threads: int = option(
        1, help="threads of each session on a processor: 1 serves most, more answer one client sooner", metavar="N"
    )
    lang: str | None = option(None, help="language: en or zh (default: the locale's)", choices=("en", "zh"))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``serve``."""
    add_options(parser, ServedConfig, title="what is served")
    add_options(parser, ServiceConfig, title="how")


def main(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C; 0 after a graceful stop."""
    from agegender.app.messages import language

    require_packages(*PACKAGES, extra="serve")
    served, config = collect(ServedConfig, args), collect(ServiceConfig, args)
    tokens = read_tokens(config.tokens_file, os.environ.get(TOKENS_VARIABLE))
    if not tokens and not config.only_here:
        _log.warning("everybody who reaches %s may use the service: no tokens are set", config.host)
    from agegender.service.server import bind, run_server

    # First, so that a port that is taken costs no time.
    with bind(config) as place:
        run_server(open_service(served, config, tokens=tokens, lang=language(served.lang)), place)
    return 0


def read_tokens(path: str | None, variable: str | None) -> tuple[str, ...]:
    """Return the tokens in the file ``path`` (one a line; # starts a comment) and in ``variable`` (commas between).

    Raises UsageError for a file that can't be read or holds none, and for a token that is too short or can't be sent.
    """
    found = [] if variable is None else [token.strip() for token in variable.split(",")]
    if path is not None:
        try:
            lines = Path(path).expanduser().read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--tokens_file {path}: can't be read ({error})") from error
        in_file = [line.strip() for line in lines if line.strip() and not line.strip().startswith("#")]
        if not in_file:
            raise UsageError(f"--tokens_file {path} holds no token")
        found += in_file
    tokens = tuple(token for token in found if token)
    if variable is not None and not tokens:
        # Set by mistake to nothing, it must not open the service to everybody.
        raise UsageError(f"the variable {TOKENS_VARIABLE} is set and holds no token")
    for number, token in enumerate(tokens, 1):
        if len(token) < SHORTEST_TOKEN or not (token.isascii() and token.isprintable() and " " not in token):
            raise UsageError(
                f"token {number} of {len(tokens)}: at least {SHORTEST_TOKEN} printable ASCII characters, no spaces"
            )
    return tokens


def open_service(
    served: ServedConfig, config: ServiceConfig, *, tokens: tuple[str, ...] | Tokens, lang: str
) -> Service:
    """Open models and detectors and start the threads. Raises what ``Predictor`` raises."""
    from agegender.app.inference.model import open_model
    from agegender.deploy.detectors import open_detector
    from agegender.service.service import Service

    infer = infer_config(served)
    # One thread of ours is one core's work; OpenCV would start others for each of them.
    import cv2

    cv2.setNumThreads(1)
    predictor = open_model(infer, lang=lang)
    detectors = [predictor.detector]
    how: dict[str, Any] = {} if len(served.det_threshold) != 1 else {"threshold": served.det_threshold[0]}
    while len(detectors) < config.threads:
        # Each thread has its own: a detector's sessions and buffers are not made for two.
        detectors.append(
            open_detector(
                served.detector,
                model=served.det_model,
                thresholds=infer.thresholds,
                min_face=served.min_face,
                engine=served.engine,
                gpu_ids=served.gpu_ids,
                threads=served.session_threads,
                **how,
            )
        )
    service = Service(
        predictor,
        detectors,
        config=config,
        model_name=_name(served),
        detector_name=served.detector,
        min_face=served.min_face,
        min_confidence=served.min_confidence,
        vector_net=vector_net(served),
        vector_name=Path(served.embedding_model or "").name,
        tokens=tokens,
        shared_net=_on_onnxruntime(served),
    )
    service.analyzer.wait_until_warm()
    for problem in service.analyzer.problems():
        _log.warning("%s", problem)
    return service


def infer_config(served: ServedConfig) -> InferConfig:
    """Return the same options as infer.py has them. Raises UsageError for those that don't go together."""
    from agegender.app.inference.config import InferConfig
    from agegender.calibration import check_min_confidence

    check_min_confidence(served.min_confidence, name="--min_confidence")
    if served.session_threads < 1:
        raise UsageError(f"--session_threads {served.session_threads}: at least 1")
    return InferConfig(
        model=served.model,
        age_model=served.age_model,
        gender_model=served.gender_model,
        template=served.template,
        # The service leaves genders out itself, each request with its own limit.
        min_confidence=None,
        detector=served.detector,
        det_model=served.det_model,
        det_threshold=served.det_threshold,
        min_face=served.min_face,
        engine=served.engine,
        gpu_ids=served.gpu_ids,
        threads=served.session_threads,
    )


def _on_onnxruntime(served: ServedConfig) -> bool:
    """Return whether ONNX Runtime runs the nets, which several threads may call at once."""
    from agegender.executor.choice import choose_executor

    names = [served.model] if served.age_model is None else [served.age_model, served.gender_model]
    if all(name is not None and name.endswith(".onnx") for name in names):
        return True
    return choose_executor(served.engine, served.gpu_ids)[0] == "onnxruntime"


def _name(served: ServedConfig) -> str:
    """Return what clients are told about which model it is: no path of this machine."""
    from agegender.graph.lookup import find_model, with_epoch

    names = []
    for name in [served.model] if served.age_model is None else [served.age_model, served.gender_model]:
        if name is not None and name.endswith(".onnx"):
            names.append(Path(name).name)
            continue
        found = with_epoch(find_model(name, takes="photos"))
        names.append(f"{found.prefix.name},{found.epoch}")
    return "+".join(names)


def vector_net(served: ServedConfig) -> VectorNet | None:
    if served.embedding_model is None:
        return None
    from agegender.deploy.vector_net import open_vector_net

    how: dict[str, Any] = {"gpu_ids": served.gpu_ids, "threads": served.session_threads}
    return open_vector_net(served.embedding_model, engine=served.engine, **how)
