"""A job's events in the shape that Synth's clients read: names, data, and the way back."""

from burnish.events.envelope import Envelope, from_envelope, to_envelope
from burnish.events.names import HIDDEN_TYPES

__all__ = ["HIDDEN_TYPES", "Envelope", "from_envelope", "to_envelope"]
