#!/usr/bin/env bash
# The walkthrough; `--yes` takes every default, `--help` lists what can be chosen.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=.venv/bin/python
[ -x "$python" ] || python=python3
exec "$python" -m examples.banking77.walkthrough "$@"
