"""Runs what is not trusted in processes that can do next to nothing."""
