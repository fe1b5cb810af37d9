"""The commands: what they take, what they print, and how the rooms are joined for them."""

from __future__ import annotations

__all__: list[str] = []
