"""Compiles the interceptor's way of a call with mypyc: the same sources for less CPU.

    .venv/bin/python scripts/compile_interceptor.py
    PYTHONPATH=.compiled .venv/bin/python -m burnish_interceptor

A copy of the package gets the compiled modules, so that the checkout itself always runs its
sources. With `--installed` they are put beside the modules of an installed package, as in an image.
Where there is no C compiler, or no mypyc, nothing is compiled and nothing is wrong.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path

from burnish_interceptor.compiled import MODULES, PACKAGE

ROOT = Path(__file__).resolve().parent.parent
COPY = ROOT / ".compiled"
SUFFIX = str(sysconfig.get_config_var("EXT_SUFFIX"))
_CHECK = "from burnish_interceptor import app, compiled; raise SystemExit(not compiled.compiled())"
# What is imported need not be typed to be called.
_MYPY = "[mypy]\nfollow_imports = silent\nignore_missing_imports = True\n"


def main() -> int:
    """Compiles; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--installed", action="store_true", help="beside the installed package, not in a copy"
    )
    installed = bool(parser.parse_args().installed)
    if lacking := missing():
        print(f"not compiled, for want of {lacking}: the interceptor runs from its sources")
        return 0
    package = source()
    if installed and Path(sysconfig.get_path("purelib")) not in package.parents:
        print(f"`{package}` is not an installed package, but sources: leave out --installed")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        made = compile_in(Path(folder), package)
        target = package.parent if installed else COPY
        if not installed:
            shutil.rmtree(COPY, ignore_errors=True)
            copy(package, COPY)
        for one in made:
            shutil.copy2(one, target / one.relative_to(folder))
    environment = {**os.environ, "PYTHONPATH": str(target)}
    # In a folder of its own: nothing of the checkout is to be imported by accident.
    if subprocess.run([sys.executable, "-c", _CHECK], env=environment, cwd=target).returncode:
        print("the compiled modules cannot be imported, see above", file=sys.stderr)
        return 1
    print(f"compiled {len(MODULES)} modules into {target}")
    return 0


def missing() -> str:
    """Returns what there is not to compile with, or nothing."""
    for name in ("mypyc", "setuptools"):
        if importlib.util.find_spec(name) is None:
            return f"the Python package {name}"
    command = os.environ.get("CC") or str(sysconfig.get_config_var("CC") or "cc")
    if shutil.which(shlex.split(command)[0]) is None:
        return "a C compiler"
    if not (Path(sysconfig.get_path("include")) / "Python.h").is_file():
        return "Python's C headers"
    return ""


def source() -> Path:
    """Returns the folder of the package's sources."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise SystemExit(f"`{PACKAGE}` is not installed")
    return Path(spec.origin).parent


def copy(package: Path, folder: Path) -> None:
    """Puts a copy of the package's sources into a folder."""
    ignored = shutil.ignore_patterns("__pycache__", f"*{SUFFIX}")
    shutil.copytree(package, folder / PACKAGE, ignore=ignored)


def compile_in(folder: Path, package: Path) -> list[Path]:
    """Compiles a copy in a folder; returns the extension modules.

    Args:
        folder: Empty; what is made stands in it as it has to stand on the path.
        package: Folder of the sources.
    """
    copy(package, folder)
    os.chdir(folder)
    os.environ["MYPYPATH"] = str(folder)
    Path("mypy.ini").write_text(_MYPY)
    from mypyc.build import mypycify

    files = [f"{name.replace('.', '/')}.py" for name in MODULES]
    importlib.import_module("setuptools").setup(
        name=PACKAGE,
        packages=[],
        script_args=["-q", "build_ext", "--inplace"],
        ext_modules=mypycify(
            ["--config-file=mypy.ini", *files], opt_level="3", debug_level="0", verbose=False
        ),
    )
    return [path for path in folder.rglob(f"*{SUFFIX}") if "build" not in path.parts]


if __name__ == "__main__":
    raise SystemExit(main())
