"""Runs the search service: `python -m burnish_search`."""

from burnish_search.app import main

raise SystemExit(main())
