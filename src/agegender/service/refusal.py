"""Why a request, or one photo of it, is not answered: a status, a cause for programs, a line for people."""

from __future__ import annotations

from typing import Any

from agegender.errors import AgeGenderError


class RefusedError(AgeGenderError):
    """``status`` is HTTP's; ``cause`` is one word, the same for all refusals of a kind (metrics count by it).

    ``retry_after`` in whole seconds tells when to come again; None: not at all.
    """

    def __init__(self, status: int, cause: str, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.cause, self.retry_after = status, cause, retry_after

    def to_json(self) -> dict[str, Any]:
        """Return ``{"cause": ..., "message": ...}``."""
        return {"cause": self.cause, "message": str(self)}

    @property
    def headers(self) -> dict[str, str]:
        """Return the headers that go with it."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return headers
