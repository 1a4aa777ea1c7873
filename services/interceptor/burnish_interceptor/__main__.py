"""Runs the interceptor: `python -m burnish_interceptor`."""

from burnish_interceptor.app import main

raise SystemExit(main())
