"""Benchmarks: scripts that print a table beside a floor or a peer, in one run."""
