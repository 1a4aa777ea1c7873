"""Writes new instruction candidates with a meta-model."""
