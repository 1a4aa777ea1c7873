"""What stands around a controller, in memory, for tests of the controller."""

from __future__ import annotations

from burnish_controller.testing.peers import FakeProposer, FakeSearch
from burnish_controller.testing.program import FakeProgram
from burnish_controller.testing.verifier import FakeVerifier
from burnish_controller.testing.world import World, small_job

__all__ = ["FakeProgram", "FakeProposer", "FakeSearch", "FakeVerifier", "World", "small_job"]
