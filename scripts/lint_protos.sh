#!/bin/sh
# Lints and checks the format of the protos with buf, which comes as an npm package: needs Node.
set -eu
cd "$(dirname "$0")/.."
tools=.venv-codegen/node
mkdir -p "$tools"
test -x "$tools/node_modules/.bin/buf" ||
    npm install --silent --no-save --ignore-scripts --prefix "$tools" @bufbuild/buf@1.75.0
buf=$PWD/$tools/node_modules/.bin/buf
cd protos
"$buf" lint
"$buf" format --diff --exit-code
