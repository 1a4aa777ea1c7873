"""Fetches what a test in Node needs: once, and again when the network failed it."""

import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
TRIES = 3


def packages(source: Path, *, name: str, files: Sequence[str]) -> Path:
    """Returns a folder with some files and the packages that their lock file names.

    Where `BURNISH_REQUIRE_TOOLS` is set a test fails for want of them, else it is skipped.

    Args:
        source: Where the files are.
        name: Name of the folder, kept from run to run.
        files: Names of the files, lock file included.
    """
    needed = bool(os.environ.get("BURNISH_REQUIRE_TOOLS"))
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        assert not needed, "Node is required"
        pytest.skip("Node is not installed")
    folder = ROOT / ".venv-node" / name
    folder.mkdir(parents=True, exist_ok=True)
    for one in files:
        shutil.copy(source / one, folder / one)
    digest = hashlib.sha256((source / "package-lock.json").read_bytes()).hexdigest()
    marker = folder / "installed"
    if marker.exists() and marker.read_text() == digest:
        return folder
    problem = ""
    for _ in range(TRIES):
        done = subprocess.run(
            [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode == 0:
            marker.write_text(digest)
            return folder
        problem = done.stderr
    assert not needed, problem
    pytest.skip("the packages cannot be fetched")
