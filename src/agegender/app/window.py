"""Windows for --show, on machines that have any."""

from __future__ import annotations


def show_window() -> bool:
    """Open matplotlib's figures in windows and wait until they are closed; False where this machine has no windows."""
    from matplotlib import pyplot
    from matplotlib.backends.registry import BackendFilter, backend_registry

    windows = backend_registry.list_builtin(BackendFilter.INTERACTIVE)  # type: ignore[no-untyped-call]
    if pyplot.get_backend().lower() not in [name.lower() for name in windows]:
        return False
    pyplot.show()
    return True
