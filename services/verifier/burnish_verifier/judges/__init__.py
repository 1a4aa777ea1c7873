"""Judges: models that score a rollout by a rubric. `evaluator` is what the graph engine asks."""
