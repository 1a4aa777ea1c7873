"""Scores rollouts: the app's own reward, built-in checks, and their weighted fusion."""
