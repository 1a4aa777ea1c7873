#!/bin/sh
# Resolves every extra anew and pins the result in constraints.txt: exact versions, no addresses.
set -eu
cd "$(dirname "$0")/.."
tools=.venv-lock
test -x "$tools/bin/uv" || {
    "${PYTHON:-python3}" -m venv "$tools"
    "$tools/bin/python" -m pip install -q --disable-pip-version-check uv==0.13.8
}
"$tools/bin/uv" pip compile pyproject.toml --all-extras --universal --upgrade --quiet \
    --no-header --no-annotate --no-emit-index-url --output-file constraints.txt
