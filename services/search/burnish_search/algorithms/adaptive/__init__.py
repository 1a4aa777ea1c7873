"""Pools that adapt: which rows a search looks at, fewer and more telling ones as it goes on."""

from burnish_search.algorithms.adaptive.pool import AdaptiveMinibatches, AdaptivePool

__all__ = ["AdaptiveMinibatches", "AdaptivePool"]
