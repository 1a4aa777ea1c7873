"""Burnish: a self-hosted suite of gRPC services that makes prompts better, measured by rewards."""

__version__ = "0.1.0"
