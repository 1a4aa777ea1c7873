#!/bin/sh
# Lints and checks the format of the protos with buf, which comes as an npm package: needs Node.
set -eu
cd "$(dirname "$0")/.."
tools=.venv-codegen/node
buf=$PWD/$tools/node_modules/.bin/buf
if ! command -v node >/dev/null; then
    echo "lint-protos: skipped, buf needs Node"
    exit 0
fi
test -x "$buf" || {
    mkdir -p "$tools"
    npm install --silent --no-save --ignore-scripts --prefix "$tools" @bufbuild/buf@1.75.0
}
cd protos
"$buf" lint
"$buf" format --diff --exit-code
