"""Decides what to try next: pure ask and tell over a cache of the controller's ledger."""
