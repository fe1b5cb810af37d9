"""Serve age and gender from faces over HTTP on several machines, with Ray Serve.

The service of serve.py, with the same routes, limits and page, in many processes (replicas), on one machine or on a
cluster of Ray. Each machine with replicas listens, and hands what is asked to all of them; a replica that dies is
started again.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import os
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from agegender.app.ray_config import RayConfig, ReplicaConfig, ReplicaServed
from agegender.app.serve import TOKENS_VARIABLE, infer_config, open_service, read_tokens, vector_net
from agegender.config import add_options, collect
from agegender.packages import require_packages
from agegender.ray_session import ray_session

if TYPE_CHECKING:
    from agegender.service.guard import Tokens
    from agegender.service.service import Service

EXAMPLES = """\
examples:
  %(prog)s --model ssrnet                                   on this machine alone, a replica on each core
  on a cluster (ray start --head on one machine, ray start --address=HEAD:6379 on each of the others):
    AGEGENDER_TOKENS=... %(prog)s --address auto --host 0.0.0.0
    %(prog)s --address auto --workers 4 --min_replicas 2 --max_replicas 20     more replicas under more load
  curl --data-binary @photo.jpg -H "Content-Type: image/jpeg" http://127.0.0.1:8000/v1/analyze

Each machine needs this package, and models that are not shipped under the same path. Needs Ray Serve:
  pip install -r requirements-serve-ray.txt
"""
# The first is Ray itself; the others come with ray[serve], not with ray.
PACKAGES = ("ray", "aiohttp_cors", "opencensus")
_log = logging.getLogger(__name__)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of ``serve_ray``."""
    add_options(parser, RayConfig, title="where")
    add_options(parser, ReplicaServed, title="what is served")
    add_options(parser, ReplicaConfig, title="how")


def main(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or Ctrl-C; 0 after a graceful stop."""
    from agegender.app.messages import language

    where, served, config = collect(RayConfig, args), collect(ReplicaServed, args), collect(ReplicaConfig, args)
    tokens = read_tokens(config.tokens_file, os.environ.get(TOKENS_VARIABLE))
    if not tokens and not config.only_here:
        _log.warning("everybody who reaches %s may use the service: no tokens are set", config.host)
    require_packages(*PACKAGES, extra="serve-ray")
    served = _pinned(served, gpu=where.gpus_per_replica > 0)
    lang = language(served.lang)
    _try_model(served, lang=lang)
    from agegender.app.ray_serving import Serving
    from agegender.service.guard import Tokens

    # Ray keeps what replicas are opened with: digests are of no use to who reads them there.
    open_replica = partial(_open_replica, served, config, Tokens(tokens), lang)
    # Ray prints notes there on actors that end, many of which it ends itself; nothing of ours goes there.
    with (
        Path(os.devnull).open("w") as nowhere,
        redirect_stdout(nowhere),
        ray_session(where.address, flag="--address") as ray,
    ):
        Serving(ray, config, open_replica, where).run()
    return 0


def _pinned(served: ReplicaServed, *, gpu: bool) -> ReplicaServed:
    """Return ``served`` with models named so that each machine takes the same, on the GPU that Ray gives or on none."""
    from agegender.app.pinned_model import pinned_model

    # Half a pair is refused where it is opened.
    given = {name: getattr(served, name) for name in ("age_model", "gender_model", "embedding_model")}
    pinned = {name: pinned_model(value) for name, value in given.items() if value is not None}
    if served.age_model is None and served.gender_model is None:
        pinned["model"] = pinned_model(served.model)
    if served.det_model is not None and Path(served.det_model).expanduser().exists():
        pinned["det_model"] = str(Path(served.det_model).expanduser().absolute())
    return dataclasses.replace(served, **pinned, gpu_ids=None if gpu else "cpu")  # type: ignore[arg-type]


def _try_model(served: ReplicaServed, *, lang: str) -> None:
    """Open models and detector once here: what is wrong with them is told before Ray starts."""
    from agegender.app.inference.model import open_model

    here = dataclasses.replace(served, gpu_ids="cpu")
    open_model(infer_config(here), lang=lang)
    vector_net(here)


def _open_replica(served: ReplicaServed, config: ReplicaConfig, tokens: Tokens, lang: str) -> Service:
    """Open the service in a process of Ray."""
    return open_service(served, config, tokens=tokens, lang=lang)
