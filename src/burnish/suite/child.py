"""Runs one service so that it ends with its supervisor, even when that is killed outright.

`python -m burnish.suite.child PARENT_PID MODULE [ARGUMENT...]` is `python -m MODULE [ARGUMENT...]`
with a thread that asks the process to stop once its parent is gone.
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
import threading

_POLL_SECONDS = 1.0


def _stop_with(parent: int) -> None:
    never = threading.Event()
    while os.getppid() == parent:
        never.wait(_POLL_SECONDS)
    os.kill(os.getpid(), signal.SIGTERM)


def main() -> None:
    """Becomes the service."""
    parent, module = int(sys.argv[1]), sys.argv[2]
    threading.Thread(target=_stop_with, args=(parent,), daemon=True, name="parent-watch").start()
    del sys.argv[1:3]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
