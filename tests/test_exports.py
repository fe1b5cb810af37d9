"""Every module can be imported, every room says what it offers, and offers it."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

import pytest

import agegender

ROOMS = [info.name for info in pkgutil.iter_modules(agegender.__path__) if info.ispkg]
MODULES = [info.name for info in pkgutil.walk_packages(agegender.__path__, prefix="agegender.")]


@pytest.mark.parametrize("name", MODULES)
def test_every_module_can_be_imported_and_says_what_it_is(name: str) -> None:
    module = importlib.import_module(name)
    assert module.__doc__ and module.__doc__.strip()


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_export_what_they_list(room: str) -> None:
    module = importlib.import_module(f"agegender.{room}")
    exported = getattr(module, "__all__", None)
    assert exported is not None, f"agegender.{room} has no __all__"
    assert len(set(exported)) == len(exported)
    for name in exported:
        value = getattr(module, name)
        assert not isinstance(value, ModuleType), f"agegender.{room}.{name} is a module"


def test_the_package_exports_what_it_lists() -> None:
    assert all(hasattr(agegender, name) for name in agegender.__all__)
    assert agegender.__version__.count(".") == 2
