"""Puts the candidate prompt on the wire: a proxy that the app cannot see through."""
