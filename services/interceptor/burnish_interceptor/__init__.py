"""Puts the candidate prompt on the wire: an OpenAI-compatible proxy that the app cannot see through."""
