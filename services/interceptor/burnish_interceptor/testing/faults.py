"""A provider that breaks on purpose: every fault that an app has to survive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import MappingProxyType

from burnish.testing.providers import FAULTS as _FAULTS
from burnish.testing.providers import FakeProvider, Fault, Heard, Play, fake_provider
from burnish.testing.providers.faults import fine

__all__ = ["FAULTS", "Heard", "Play", "faulty", "fine"]

FAULTS = MappingProxyType({name: fault.play for name, fault in _FAULTS.items()})
"""What can go wrong at a provider that was reached."""


@asynccontextmanager
async def faulty(play: Play) -> AsyncIterator[FakeProvider]:
    """Runs a provider that plays a fault on every request."""
    async with fake_provider(Fault(play=play)) as running:
        yield running
