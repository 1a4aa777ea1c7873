"""`python -m burnish_controller`."""

from burnish_controller.app import main

raise SystemExit(main())
