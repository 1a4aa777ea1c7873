"""Synth AI's scoring endpoints over HTTP: thin adapters to the verifier."""
