"""Runs the service: `python -m burnish_proposer`."""

from __future__ import annotations

from burnish_proposer.app import main

raise SystemExit(main())
