"""Age and gender from faces, with your own data: pack, train, evaluate, infer."""

from __future__ import annotations

from agegender.errors import AgeGenderError

__version__ = "0.1.0"
__all__ = ["AgeGenderError", "__version__"]
