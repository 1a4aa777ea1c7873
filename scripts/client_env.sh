#!/bin/sh
# Makes `.venv-clients`, the environment of the DSPy and LangChain examples: those frameworks need other versions
# of what the services need, so they never share an environment. `--lock` resolves them anew instead, and pins
# the result in tests/clients/constraints.txt: exact versions, no addresses.
set -eu
cd "$(dirname "$0")/.."
environment=.venv-clients
constraints=tests/clients/constraints.txt
wanted='examples/dspy_program/requirements.txt examples/langchain_program/requirements.txt'
tools=.venv-lock
test -x "$tools/bin/uv" || {
    "${PYTHON:-python3}" -m venv "$tools"
    "$tools/bin/python" -m pip install -q --disable-pip-version-check uv==0.13.8
}
if [ "${1:-}" = --lock ]; then
    # shellcheck disable=SC2086
    exec "$tools/bin/uv" pip compile pyproject.toml $wanted --universal --upgrade --quiet \
        --no-header --no-annotate --no-emit-index-url --output-file "$constraints"
fi
# shellcheck disable=SC2086
made=$(cat pyproject.toml "$constraints" $wanted | cksum)
test "$(cat "$environment/.installed" 2>/dev/null)" = "$made" || {
    rm -rf "$environment"
    "${PYTHON:-python3}" -m venv "$environment"
    # Burnish without its services: what a task app needs.
    # shellcheck disable=SC2086
    "$tools/bin/uv" pip install -q --python "$environment/bin/python" -c "$constraints" \
        $(printf -- '-r %s ' $wanted) -e .
    echo "$made" >"$environment/.installed"
}
