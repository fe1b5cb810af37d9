"""Which model wrote a file of results: kept beside it, so that ``--resume`` adds no other model's answers."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agegender.errors import DataError, UsageError
from agegender.files import sha256_file, write_json
from agegender.graph.checkpoint import params_path
from agegender.graph.lookup import ModelRef

SUFFIX = ".model.json"


@dataclass(frozen=True, kw_only=True)
class Maker:
    """The models of a run, by flag of infer.py without its dashes.

    ``names`` are what the flags take (``m50,97``), ``digests`` the SHA-256 of the weights.
    """

    names: Mapping[str, str]
    digests: Mapping[str, str]

    @classmethod
    def of(cls, models: Mapping[str, ModelRef | str]) -> Maker:
        """Return it for ``models``, a checkpoint whose epoch is a number or the path of an .onnx file for each flag."""
        return cls(
            names={flag: _name(model) for flag, model in models.items()},
            digests={flag: sha256_file(_weights(model)) for flag, model in models.items()},
        )

    @property
    def flags(self) -> str:
        """Return the flags that name the models, as one writes them."""
        return " ".join(f"--{flag} {shlex.quote(name)}" for flag, name in self.names.items())

    def note(self, results: Path) -> None:
        """Write down beside the file ``results`` that it is of these models."""
        models = {flag: {"name": name, "sha256": self.digests[flag]} for flag, name in self.names.items()}
        write_json(maker_path(results), {"format": 1, "models": models})

    def check(self, results: Path) -> None:
        """Raise UsageError where the file ``results`` is of other models; one that nothing stands beside passes.

        Raises DataError where what stands there is damaged.
        """
        before = read_maker(results)
        if before is None or before.digests == self.digests:
            return
        if before.names == self.names:
            raise UsageError(
                f"{results} was written with {before.flags}, whose weights were others then; --resume mixes no models: "
                "name another file"
            )
        raise UsageError(
            f"{results} was written with {before.flags}, and this run has {self.flags}; --resume mixes no models: "
            f"give {before.flags}, or name another file"
        )


def maker_path(results: Path) -> Path:
    """Return where it stands which model wrote the file ``results``."""
    return results.with_name(results.name + SUFFIX)


def read_maker(results: Path) -> Maker | None:
    """Return what wrote the file ``results``, None where nothing says it. Raises DataError where that is damaged."""
    path = maker_path(results)
    try:
        models = json.loads(path.read_bytes())["models"]
        return Maker(
            names={str(flag): str(model["name"]) for flag, model in models.items()},
            digests={str(flag): str(model["sha256"]) for flag, model in models.items()},
        )
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise DataError(
            f"{path} doesn't say which model wrote {results.name}; without this file --resume goes on unchecked"
        ) from None


def _name(model: ModelRef | str) -> str:
    if isinstance(model, str):
        return model
    return f"{model.origin.name or model.prefix.as_posix()},{model.epoch}"


def _weights(model: ModelRef | str) -> Path:
    if isinstance(model, str):
        return Path(model).expanduser()
    assert isinstance(model.epoch, int)
    return params_path(model.prefix, model.epoch)
