#!/bin/sh
# Runs tests on the oldest gRPC and protobuf that pyproject.toml allows, in an environment of its own
# that lies over `.venv`: whatever else is imported comes from there. Arguments go to pytest.
set -eu
cd "$(dirname "$0")/.."
floor=.venv-floor
packages='grpcio==1.76.0 grpcio-health-checking==1.76.0 grpcio-reflection==1.76.0
    protobuf==6.31.1 googleapis-common-protos==1.70.0'
test "$(cat "$floor/.installed" 2>/dev/null)" = "$packages" || {
    rm -rf "$floor"
    .venv/bin/python -m venv "$floor"
    # A wheel of its own for every package: nothing else is resolved, nothing else is fetched.
    # shellcheck disable=SC2086
    "$floor/bin/python" -m pip install -q --disable-pip-version-check --no-deps $packages
    below=$(.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    above=$("$floor/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    echo "import site; site.addsitedir('$below')" >"$above/below.pth"
    echo "$packages" >"$floor/.installed"
}
"$floor/bin/python" - <<'END'
import google.protobuf
import grpc

versions = grpc.__version__, google.protobuf.__version__
assert versions == ("1.76.0", "6.31.1"), versions
print("floor: grpcio {}, protobuf {}".format(*versions))
END
# The destructor of a call of grpcio 1.76 complains, unheard, when its channel was closed before it.
"$floor/bin/python" -m pytest -q -o cache_dir="$floor/cache" -m 'not slow and not node' \
    -W ignore::pytest.PytestUnraisableExceptionWarning "$@"
