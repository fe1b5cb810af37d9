"""Logging an error of our own without what a client sent."""

from __future__ import annotations

import logging
import traceback


def log_crash(log: logging.Logger, where: str, error: BaseException) -> None:
    """Log the type of ``error`` and where it came from. Its message may quote a client and stays out."""
    frames = "".join(traceback.format_tb(error.__traceback__)).rstrip()
    log.error("%s: %s\n%s", where, type(error).__name__, frames)
