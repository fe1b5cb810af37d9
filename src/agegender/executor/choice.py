"""Which engine computes, where nobody has said so."""

from __future__ import annotations

import importlib.util
import os

from agegender.executor.driver import driver_gpus


def choose_engine(engine: str, gpu_ids: str | None) -> tuple[str, str]:
    """Return the engine (mxnet or torch) that ``engine`` and ``gpu_ids`` mean, and the reason for it.

    ``auto``: MXNet if its build sees the GPUs asked for, else PyTorch if that does, else MXNet on the processor
    (PyTorch where MXNet is not installed). Launchers say by their variables which one they start.
    """
    if engine != "auto":
        return engine, "as asked"
    if "DMLC_PS_ROOT_URI" in os.environ:
        return "mxnet", "DMLC_* variables are set"
    if launched_by_torch():
        return "torch", "torchrun's variables are set"
    has_mxnet, has_torch = (importlib.util.find_spec(name) is not None for name in ("mxnet", "torch"))
    if not has_mxnet or not has_torch:
        return ("mxnet", "torch is not installed") if has_mxnet else ("torch", "mxnet is not installed")
    words = [word.strip().lower() for word in (gpu_ids or "").split(",") if word.strip()]
    if words and all(word == "cpu" for word in words):
        return "mxnet", "on the processor the faster of the two"
    if driver_gpus() == 0:
        return "mxnet", "no GPU is there"
    wanted = max((int(word) for word in words if word.isdecimal()), default=0) + 1
    return _among_gpus(wanted)


def choose_executor(engine: str, gpu_ids: str | None) -> tuple[str, str]:
    """Return the executor for deployment that ``engine`` and ``gpu_ids`` mean, and the reason for it.

    ``auto``: ONNX Runtime where it is installed, unless a GPU is asked for that its build can't use; else what
    ``choose_engine`` says.
    """
    if engine != "auto":
        return engine, "as asked"
    if any(importlib.util.find_spec(name) is None for name in ("onnxruntime", "onnx")):
        return choose_engine("auto", gpu_ids)
    if any(word.strip().isdecimal() for word in (gpu_ids or "").split(",")) and not _onnxruntime_has_cuda():
        return choose_engine("auto", gpu_ids)
    return "onnxruntime", "the fastest to start and to run"


def _onnxruntime_has_cuda() -> bool:
    from agegender.executor.onnx_runtime import CUDA, load_onnxruntime

    return CUDA in load_onnxruntime().get_available_providers()


def launched_by_torch() -> bool:
    """Tell whether this process is one of several that torchrun, or ``torch_launch.launch``, has started."""
    return "RANK" in os.environ and "WORLD_SIZE" in os.environ


def _among_gpus(wanted: int) -> tuple[str, str]:
    """Choose where the driver has GPUs; the libraries have to be asked, which loads them."""
    from agegender.executor.mxnet_runtime import load_mxnet

    if int(load_mxnet().context.num_gpus()) >= wanted:
        return "mxnet", "its build can use the GPU"
    from agegender.executor.torch_runtime import load_torch

    if int(load_torch().cuda.device_count()) >= wanted:
        return "torch", "this build of mxnet can't use the GPU"
    return "mxnet", "neither mxnet nor torch can use the GPU"
