"""A call that is not made."""

from __future__ import annotations

from burnish_interceptor.app_error import AppError


class CallRefused(Exception):
    """A call that is not made; the app is told why."""

    def __init__(self, error: AppError) -> None:
        super().__init__(error.code)
        self.error = error
