"""Reads the settings that only the interceptor has from environment variables."""

from __future__ import annotations

from collections.abc import Mapping

from burnish_runtime.settings import SettingsInvalid


def choice(environ: Mapping[str, str], name: str, *values: str) -> str:
    """Returns a variable that can have a few values, the first when it is not set.

    Raises:
        SettingsInvalid: It has another value.
    """
    value = environ.get(name, "").strip().lower() or values[0]
    if value not in values:
        wanted = " or ".join(f"`{one}`" for one in values)
        problem = f"{name} is `{value}`; it can be {wanted}"
        raise SettingsInvalid(problem, metadata={name: problem})
    return value
