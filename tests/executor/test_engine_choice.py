"""Which engine trains: every case with the libraries and GPUs that a machine may have."""

from __future__ import annotations

import importlib.util
from types import SimpleNamespace
from typing import Any

import pytest

from agegender.executor import choice, mxnet_runtime, torch_runtime

LAUNCHERS = ("DMLC_PS_ROOT_URI", "RANK", "WORLD_SIZE")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that makes this machine one with some libraries, and GPUs that each of them can use."""
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)

    def make(*, installed: tuple[str, ...] = ("mxnet", "torch"), mxnet: int = 0, torch: int = 0) -> None:
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name in installed else None)
        monkeypatch.setattr(choice, "driver_gpus", lambda: max(mxnet, torch))
        here = SimpleNamespace(context=SimpleNamespace(num_gpus=lambda: mxnet))
        monkeypatch.setattr(mxnet_runtime, "load_mxnet", lambda: here)
        there = SimpleNamespace(cuda=SimpleNamespace(device_count=lambda: torch))
        monkeypatch.setattr(torch_runtime, "load_torch", lambda: there)

    return make


@pytest.mark.parametrize(
    ("there", "gpu_ids", "engine", "reason"),
    [
        ({}, None, "mxnet", "no GPU is there"),
        ({}, "cpu", "mxnet", "on the processor the faster of the two"),
        ({"installed": ("torch",)}, "cpu", "torch", "mxnet is not installed"),
        ({"installed": ("mxnet",)}, None, "mxnet", "torch is not installed"),
        ({"mxnet": 1, "torch": 1}, None, "mxnet", "its build can use the GPU"),
        ({"torch": 1}, None, "torch", "this build of mxnet can't use the GPU"),
        ({"mxnet": 1, "torch": 2}, "0,1", "torch", "this build of mxnet can't use the GPU"),
        ({"torch": 1}, "3", "mxnet", "neither mxnet nor torch can use the GPU"),
        ({"torch": 1}, "cpu,cpu", "mxnet", "on the processor the faster of the two"),
    ],
)
def test_auto_takes_what_can_use_the_gpus(
    machine: Any, there: dict[str, Any], gpu_ids: str | None, engine: str, reason: str
) -> None:
    machine(**there)
    assert choice.choose_engine("auto", gpu_ids) == (engine, reason)


@pytest.mark.parametrize(
    ("variables", "engine"), [({"DMLC_PS_ROOT_URI": "h"}, "mxnet"), ({"RANK": "0", "WORLD_SIZE": "2"}, "torch")]
)
def test_launchers_say_which(
    machine: Any, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], engine: str
) -> None:
    machine(torch=1, mxnet=1)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert choice.choose_engine("auto", None)[0] == engine


def test_what_is_asked_for_is_taken(machine: Any) -> None:
    machine(mxnet=1)
    assert choice.choose_engine("torch", None) == ("torch", "as asked")


def test_this_machine_without_a_driver_has_no_gpu() -> None:
    assert choice.driver_gpus() >= 0


@pytest.mark.parametrize(
    ("installed", "cuda", "gpu_ids", "expected"),
    [
        (("onnxruntime", "onnx", "mxnet", "torch"), False, None, "onnxruntime"),
        (("onnxruntime", "onnx"), False, "cpu", "onnxruntime"),
        (("onnxruntime", "onnx", "torch"), True, "0", "onnxruntime"),
        # A GPU that this build of ONNX Runtime can't use: as in training.
        (("onnxruntime", "onnx", "torch"), False, "1", "torch"),
        (("onnxruntime", "mxnet"), False, None, "mxnet"),
        (("torch",), False, None, "torch"),
    ],
)
def test_what_deploys(
    installed: tuple[str, ...], cuda: bool, gpu_ids: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choice.importlib.util, "find_spec", lambda name: object() if name in installed else None)
    monkeypatch.setattr(choice, "_onnxruntime_has_cuda", lambda: cuda)
    assert choice.choose_executor("auto", gpu_ids)[0] == expected
    assert choice.choose_executor("mxnet", gpu_ids) == ("mxnet", "as asked")
