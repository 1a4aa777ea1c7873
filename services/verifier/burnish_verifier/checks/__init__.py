"""Checks: deterministic functions from a rollout's output and reference to a score in [0, 1]."""
