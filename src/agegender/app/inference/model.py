"""The model and detector that the flags of infer.py name."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from agegender.app.inference.config import InferConfig
from agegender.app.inference.report import say
from agegender.app.inference.texts import text
from agegender.app.messages import model_line

if TYPE_CHECKING:
    from agegender.deploy.predict import Predictor
    from agegender.graph.lookup import ModelRef


def open_model(config: InferConfig, *, lang: str) -> Predictor:
    """Open the models and the detector of ``config`` and say on standard error which models these are.

    Raises what ``Predictor`` and ``find_model`` raise.
    """
    return open_found(config, find_models(config, lang=lang))


def find_models(config: InferConfig, *, lang: str) -> dict[str, ModelRef | str]:
    """Return the models of ``config`` by flag, ``model`` or ``age_model`` and ``gender_model``, and say which they are.

    The epoch of a checkpoint is a number; an .onnx file is its path. Raises what ``find_model`` raises.
    """
    if config.age_model is None and config.gender_model is None:
        return {"model": find_told(config.model, lang)}
    pair = {"age_model": config.age_model, "gender_model": config.gender_model}
    return {flag: find_told(name, lang) for flag, name in pair.items()}


def open_found(config: InferConfig, models: Mapping[str, ModelRef | str]) -> Predictor:
    """Open ``models``, as ``find_models`` gives them, and the detector of ``config``. Raises as ``Predictor``."""
    how: dict[str, Any] = {"thresholds": config.thresholds}
    if len(config.det_threshold) == 1:
        how["det_threshold"] = config.det_threshold[0]
    if config.min_confidence is not None:
        how["min_confidence"] = config.min_confidence
    from agegender.deploy.predict import Predictor

    return Predictor(
        models.get("model"),
        age_model=config.age_model,
        gender_model=config.gender_model,
        template=config.template,
        detector=config.detector,
        det_model=config.det_model,
        min_face=config.min_face,
        mc_dropout=config.mc_dropout,
        seed=config.seed,
        engine=config.engine,
        gpu_ids=config.gpu_ids,
        threads=config.threads,
        **how,
    )


def find_told(name: str | None, lang: str, *, takes: Literal["photos", "embeddings"] = "photos") -> ModelRef | str:
    """Find the model that ``name`` means, None the newest that ``takes`` such input, and say which it is."""
    if name is not None and name.endswith(".onnx"):
        say(text("model_file", lang, path=name), sys.stderr)
        return name
    from agegender.graph.lookup import find_model, with_epoch

    model = with_epoch(find_model(name, takes=takes))
    say(model_line(model, lang, prefix=model.prefix, epoch=model.epoch), sys.stderr)
    return model
