"""Carries models/ into the package, where an installed agegender looks for them; all else is in pyproject.toml."""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithModels(build_py):
    """Build the modules, then copy the shipped models beside them as ``agegender/models``."""

    def run(self) -> None:
        super().run()
        # An editable install finds models/ in the checkout.
        if not self.editable_mode:
            target = Path(self.build_lib) / "agegender" / "models"
            shutil.copytree(Path(__file__).resolve().parent / "models", target, dirs_exist_ok=True)


setup(cmdclass={"build_py": BuildWithModels})
