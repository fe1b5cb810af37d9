"""Running a saved graph forward. Importing this room loads no executor's library; opening one does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from agegender.errors import UsageError

# Not even numpy, so that the command line can read ENGINES at once.
if TYPE_CHECKING:
    from agegender.executor.base import Executor
    from agegender.graph.checkpoint import Checkpoint

__all__ = ["ENGINES", "EXECUTORS", "Executor", "open_executor"]

# What trains, and what runs a trained net.
ENGINES = ("mxnet", "torch")
EXECUTORS = ("onnxruntime", *ENGINES)


def open_executor(
    checkpoint: Checkpoint,
    *,
    engine: str = "mxnet",
    gpu_ids: str | Sequence[int] | None = None,
    providers: Sequence[str] | None = None,
    threads: int | None = None,
    free_size: bool = False,
) -> Executor:
    """Return ``checkpoint`` ready to run on ``engine``, on the GPUs ``gpu_ids`` (None: the first one, else the CPU).

    ``providers`` and ``free_size`` are for onnxruntime (see ``ONNXExecutor``). ``threads`` compute one operator, by
    default as many as there are cores; MXNet and PyTorch have one number for the whole process, that of the first call.
    Raises UsageError for an unknown engine, DeviceError for a GPU or library that is not there, CheckpointError and
    GraphError for a checkpoint that the engine can't run.
    """
    if engine not in EXECUTORS:
        raise UsageError(f"unknown executor {engine!r} ({', '.join(EXECUTORS)})")
    from agegender.graph.checkpoint import params_path

    path = params_path(checkpoint.prefix, checkpoint.epoch)
    if engine == "onnxruntime":
        from agegender.executor.onnx_executor import ONNXExecutor
        from agegender.executor.onnx_runtime import choose_providers

        return ONNXExecutor(
            checkpoint.graph,
            checkpoint.params,
            providers=choose_providers(gpu_ids, providers=providers),
            threads=threads,
            free_size=free_size,
            source=path,
        )
    if engine == "torch":
        from agegender.executor.torch_runtime import load_torch, torch_devices

        # First, so that a machine without PyTorch is told how to get it.
        load_torch(threads=threads)
        devices = torch_devices(gpu_ids)
        from agegender.executor.torch_executor import TorchExecutor

        return TorchExecutor(checkpoint.graph, checkpoint.params, devices=devices, source=path)
    from agegender.executor.devices import contexts
    from agegender.executor.mxnet_executor import MXNetExecutor
    from agegender.executor.mxnet_runtime import load_mxnet

    load_mxnet(threads=threads)
    return MXNetExecutor(checkpoint.graph, checkpoint.params, contexts=contexts(gpu_ids), source=path)


def __getattr__(name: str) -> Any:
    if name == "Executor":
        from agegender.executor.base import Executor

        return Executor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
