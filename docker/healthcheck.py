#!/usr/bin/env python
"""Exits with 0 when the service of this image serves; its health port needs no token."""

import asyncio
import os
import sys

from burnish.suite.health import serving


def main() -> int:
    """Asks over loopback, whatever address the service listens on."""
    if os.environ["BURNISH_SERVICE"] == "local":
        ready = {"base_url": "http://127.0.0.1:8080/v1"}
    else:
        port = os.environ["BURNISH_HEALTH_LISTEN"].rpartition(":")[2]
        ready = {"health": f"127.0.0.1:{port}"}
    return 0 if asyncio.run(serving(ready)) else 1


if __name__ == "__main__":
    sys.exit(main())
