"""Age and gender from faces, with your own data: pack, train, evaluate, infer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agegender.errors import AgeGenderError

if TYPE_CHECKING:
    from agegender.deploy.predict import Predictor

__version__ = "0.1.0"
__all__ = ["AgeGenderError", "Predictor", "__version__"]


def __getattr__(name: str) -> Any:
    """Load the predictor on first use, so that importing the package loads nothing."""
    if name == "Predictor":
        from agegender.deploy.predict import Predictor

        return Predictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
