"""Runs the verifier: `python -m burnish_verifier`."""

from burnish_verifier.app import main

if __name__ == "__main__":
    raise SystemExit(main())
