"""Generates `src/burnish/api` from `protos/` with a pinned generator in an environment of its own.

The stubs are committed, so users need no generator; `--check` fails when they are stale. The pin is
the oldest generator whose code runs on every protobuf that we support.
"""

from __future__ import annotations

import argparse
import filecmp
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROTOS = ROOT / "protos"
TARGET = ROOT / "src" / "burnish" / "api"
ENVIRONMENT = ROOT / ".venv-codegen"
GENERATOR = ("grpcio-tools==1.76.0", "mypy-protobuf==5.1.0", "setuptools==80.9.0")
PACKAGE_DOC = '"""Generated from `protos/` by scripts/gen_protos.py; do not edit."""\n'


def generator_python() -> Path:
    """Returns the interpreter of the generator's environment, made on first use."""
    python = ENVIRONMENT / "bin" / "python"
    marker = ENVIRONMENT / "requirements.txt"
    wanted = "\n".join(GENERATOR)
    if not marker.exists() or marker.read_text() != wanted:
        venv.EnvBuilder(with_pip=True, clear=True).create(ENVIRONMENT)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *GENERATOR], check=True)
        marker.write_text(wanted)
    return python


def generate(target: Path) -> None:
    """Writes every stub and the package files that re-export them below `target`."""
    python = generator_python()
    sources = sorted(str(path.relative_to(PROTOS)) for path in PROTOS.rglob("*.proto"))
    with tempfile.TemporaryDirectory() as scratch:
        subprocess.run(
            [
                str(python),
                "-m",
                "grpc_tools.protoc",
                f"--plugin=protoc-gen-mypy={ENVIRONMENT / 'bin' / 'protoc-gen-mypy'}",
                f"--plugin=protoc-gen-mypy_grpc={ENVIRONMENT / 'bin' / 'protoc-gen-mypy_grpc'}",
                f"--proto_path={PROTOS}",
                f"--python_out={scratch}",
                f"--grpc_python_out={scratch}",
                f"--mypy_out=quiet:{scratch}",
                f"--mypy_grpc_out=quiet,only_async:{scratch}",
                *sources,
            ],
            check=True,
        )
        shutil.copytree(Path(scratch) / "burnish" / "api", target, dirs_exist_ok=True)
    for directory in [target, *(path for path in sorted(target.rglob("*")) if path.is_dir())]:
        package = ".".join(("burnish", "api", *directory.relative_to(target).parts))
        (directory / "__init__.py").write_text(_package_file(directory, package=package))


def _package_file(directory: Path, *, package: str) -> str:
    """Returns an `__init__.py` that re-exports the public names of a version package."""
    lines = []
    for module in sorted(directory.glob("*_pb2*.py")):
        lines.append(f"from {package}.{module.stem} import *")
    if not lines:
        return PACKAGE_DOC
    return PACKAGE_DOC + "\n" + "\n".join(lines) + "\n"


def stale_files() -> list[str]:
    """Returns the stubs that differ from what the protos now generate."""
    with tempfile.TemporaryDirectory() as scratch:
        fresh = Path(scratch) / "api"
        generate(fresh)
        paths = {path.relative_to(fresh) for path in fresh.rglob("*.py*")}
        paths |= {
            path.relative_to(TARGET)
            for path in TARGET.rglob("*.py*")
            if "__pycache__" not in path.parts
        }
        return sorted(
            str(path)
            for path in paths
            if not (TARGET / path).exists()
            or not (fresh / path).exists()
            or not filecmp.cmp(fresh / path, TARGET / path, shallow=False)
        )


def main() -> int:
    """Generates the stubs, or with `--check` says which are stale."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="fail when a stub is stale")
    if parser.parse_args().check:
        stale = stale_files()
        if stale:
            print("stale stubs, run `make protos`: " + ", ".join(stale), file=sys.stderr)
        return 1 if stale else 0
    shutil.rmtree(TARGET, ignore_errors=True)
    generate(TARGET)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
