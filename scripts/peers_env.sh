#!/bin/sh
# Makes `.venv-peers`, the environment of the optimisers that benchmarks/search.py compares with: DSPy and
# GEPA as released, with the Optuna of the search service, so that one seed gives both the same samples.
# `--lock` resolves it anew instead, and pins the result in benchmarks/search_parts/peers-constraints.txt.
set -eu
cd "$(dirname "$0")/.."
environment=.venv-peers
constraints=benchmarks/search_parts/peers-constraints.txt
optuna=$(grep '^optuna==' constraints.txt | cut -d' ' -f1)
wanted="dspy==3.4.1 gepa==0.1.4 numpy $optuna"
if [ "${1:-}" = --lock ]; then
    fresh=$(mktemp -d)
    trap 'rm -rf "$fresh"' EXIT
    "${PYTHON:-python3}" -m venv "$fresh"
    # shellcheck disable=SC2086
    "$fresh/bin/python" -m pip install -q --disable-pip-version-check $wanted
    "$fresh/bin/python" -m pip freeze --disable-pip-version-check >"$constraints"
    exit
fi
made=$(echo "$wanted" | cat - "$constraints" | cksum)
test "$(cat "$environment/.installed" 2>/dev/null)" = "$made" || {
    rm -rf "$environment"
    "${PYTHON:-python3}" -m venv "$environment"
    # shellcheck disable=SC2086
    "$environment/bin/python" -m pip install -q --disable-pip-version-check -c "$constraints" $wanted
    echo "$made" >"$environment/.installed"
}
