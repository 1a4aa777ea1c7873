"""Walks through one MIPRO job on Banking77 in six steps, without a key and without a network.

    bash examples/banking77/run_interactive.sh            asks before every step
    bash examples/banking77/run_interactive.sh --yes      takes every default

Afterwards the working folder holds env_key.txt, mipro_config.toml, task_app.log and results/.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import platform
import secrets
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from burnish import __version__
from burnish.datasets import BANKING77_PRESETS, BadDataset, DatasetNotFound
from burnish.task_app.model import TaskInfo
from burnish.task_probe import ask_task_info
from examples.banking77.config import Model, config_text
from examples.banking77.data import find_data
from examples.harness import ROOT, AppStartFailed, app_process

_WIDTH = 78
_KEYS = {"openai": "OPENAI_API_KEY", "groq": "GROQ_API_KEY", "google": "GEMINI_API_KEY"}
_PACKAGES = ("grpc", "optuna", "dbos", "numpy", "aiohttp")
LOCAL_MODEL = "local/local-reader"


class StopWalk(RuntimeError):
    """The walk cannot go on, and why."""


@dataclass(slots=True, kw_only=True)
class Walk:
    """One walk: what was chosen so far.

    Attributes:
        folder: Working folder.
        preset: Labels of Banking77.
        data: Folder with the data; None looks in the environment, the cache and the network.
        online: Whether the data may be downloaded.
        model: Model that answers the app's calls, `provider/model`.
        rollouts: Most rollouts before the closing test.
        port: Port of the task app.
        asks: Whether it waits before every step.
    """

    folder: Path
    preset: str
    data: Path | None
    online: bool
    model: str
    rollouts: int
    port: int
    asks: bool
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    @property
    def config(self) -> Path:
        """The job file."""
        return self.folder / "mipro_config.toml"

    @property
    def results(self) -> Path:
        """The folder of the artefacts."""
        return self.folder / "results"

    def title(self, number: int, text: str) -> None:
        """Prints the heading of a step, after the user says so."""
        if self.asks and number > 1:
            input("\nPress Enter to go on ... ")
        print(f"\n{'=' * _WIDTH}\nStep {number}: {text}\n{'=' * _WIDTH}", flush=True)

    def answer(self, question: str, default: str) -> str:
        """Returns what the user answers; the default for nothing, or when nobody is asked."""
        if not self.asks:
            return default
        return input(f"{question} [{default}]: ").strip() or default


def main() -> int:
    """Walks through; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--yes", action="store_true", help="ask nothing, take every default")
    parser.add_argument("--preset", choices=tuple(BANKING77_PRESETS), default="confusable7")
    parser.add_argument("--data", type=Path, help="folder with train.csv and test.csv")
    parser.add_argument("--offline", action="store_true", help="never download")
    parser.add_argument("--model", default=LOCAL_MODEL, help="provider/model of the app's calls")
    parser.add_argument("--rollouts", type=int, default=200)
    parser.add_argument("--port", type=int, default=8002)
    parser.add_argument("--dir", type=Path, default=ROOT / ".burnish" / "walkthrough")
    options = parser.parse_args()
    walk = Walk(
        folder=options.dir.resolve(),
        preset=options.preset,
        data=None if options.data is None else options.data.resolve(),
        online=not options.offline,
        model=options.model,
        rollouts=options.rollouts,
        port=options.port,
        asks=not options.yes,
    )
    try:
        return asyncio.run(walk_through(walk))
    except (StopWalk, AppStartFailed, BadDataset, DatasetNotFound) as error:
        print(f"\n✗ {error}", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, EOFError):
        print("\nStopped.", file=sys.stderr)
        return 130


async def walk_through(walk: Walk) -> int:
    """Takes the six steps."""
    check_prerequisites(walk)
    make_key(walk)
    async with contextlib.AsyncExitStack() as stack:
        info = await start_app(walk, stack)
        write_config(walk, info)
        code = await train(walk)
    if code != 0:
        return code
    return review(walk)


def check_prerequisites(walk: Walk) -> None:
    """Looks at Python, the packages, the backend and the keys."""
    walk.title(1, "Prerequisites")
    print("Checking prerequisites...\n")
    print(f"✓ Python {platform.python_version()}")
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise StopWalk(f'packages are missing ({", ".join(missing)}); pip install "burnish[all]"')
    print(f"✓ burnish {__version__} with all its services")
    backend = walk.environment.get("BURNISH_TARGET")
    if backend:
        print(f"✓ BURNISH_TARGET is set: the job goes to {backend}")
    else:
        print("✓ no BURNISH_TARGET: a suite of five services runs here for the time of the job")
    for provider, name in _KEYS.items():
        if walk.environment.get(name):
            print(f"✓ {name} is set: --model {provider}/MODEL can be chosen")
    walk.model = walk.answer("Model for the app's calls", walk.model)
    provider = Model.parse(walk.model).provider
    key = _KEYS.get(provider)
    if key is not None and not walk.environment.get(key):
        raise StopWalk(f"{walk.model} needs {key}; set it, or use {LOCAL_MODEL}")
    print(f"✓ model: {walk.model}" + (", which needs no key" if provider == "local" else ""))
    print("\nAll prerequisites met!")


def make_key(walk: Walk) -> None:
    """Makes the key that only the task app and the job know."""
    walk.title(2, "ENVIRONMENT_API_KEY")
    key = secrets.token_urlsafe(32)
    walk.folder.mkdir(parents=True, exist_ok=True)
    file = walk.folder / "env_key.txt"
    file.unlink(missing_ok=True)
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as opened:
        opened.write(f"{key}\n")
    # The app's process takes it from here, and so does `burnish train`.
    os.environ["ENVIRONMENT_API_KEY"] = walk.environment["ENVIRONMENT_API_KEY"] = key
    print(f"✓ ENVIRONMENT_API_KEY generated: {key[:6]}...")
    print(f"✓ saved in {file} (only you can read it)")
    print("  It is not registered anywhere: the job brings it along and forgets it at its end.")


async def start_app(walk: Walk, stack: contextlib.AsyncExitStack) -> TaskInfo:
    """Starts the task app, and returns what it says of itself."""
    walk.title(3, "Task app")
    walk.preset = walk.answer(f"Labels, one of {', '.join(BANKING77_PRESETS)}", walk.preset)
    for note in find_data(walk.preset, directory=walk.data, online=walk.online).notes:
        print(note)
    walk.port = free_port(walk.port)
    data = () if walk.data is None else ("--data", str(walk.data))
    offline = () if walk.online else ("--offline",)
    print("\nStarting task app in background...")
    url = await stack.enter_async_context(
        app_process(
            "examples.banking77.app",
            *("--port", str(walk.port), "--preset", walk.preset, *data, *offline),
            folder=walk.folder,
            log="task_app.log",
        )
    )
    print(f"✓ Task app is running at {url}\n\nFetching task info...")
    info = await ask_task_info(url, api_key=walk.environment["ENVIRONMENT_API_KEY"])
    told = {
        "task_app_id": info.task,
        "dataset_size": info.seed_count,
        "splits": {split.name: [split.start, split.end] for split in info.splits},
    }
    print(json.dumps(told, indent=4))
    return info


def write_config(walk: Walk, info: TaskInfo) -> None:
    """Writes the job file."""
    walk.title(4, "Configuration")
    wanted = walk.answer("Most rollouts before the closing test", str(walk.rollouts))
    if not wanted.isdigit():
        raise StopWalk(f"`{wanted}` is not a number of rollouts; give one like 200")
    walk.rollouts = int(wanted)
    url = f"http://127.0.0.1:{walk.port}"
    text = config_text(url, info, model=Model.parse(walk.model), rollouts=walk.rollouts)
    walk.config.write_text(text)
    print(f"✓ {walk.config}\n\n{text}")


async def train(walk: Walk) -> int:
    """Runs the job with the command line, as anybody would."""
    walk.title(5, "Optimization job")
    command = [str(Path(sys.executable).parent / "burnish"), "train", str(walk.config), "--poll"]
    command += ["--results-dir", str(walk.results), "--state-dir", str(walk.folder / "state")]
    print(
        f"Executing: burnish train {walk.config} --poll --results-dir {walk.results}\n", flush=True
    )
    for old in walk.results.glob("*.json"):
        old.unlink()
    return await asyncio.to_thread(
        lambda: subprocess.run(command, env=walk.environment, check=False).returncode
    )


def review(walk: Walk) -> int:
    """Shows the files and what is in them."""
    walk.title(6, "Results")
    print("Results directory contents:")
    for file in sorted(walk.results.iterdir()):
        print(f"  {file.stat().st_size:>8}  {file.name}")
    best = walk.results / "best_prompt.json"
    if not best.exists():
        raise StopWalk(f"there is no {best}; task_app.log and state/logs tell why")
    prompt = json.loads(best.read_text())
    shown = {name: prompt[name] for name in ("instruction", "demonstrations")}
    print(
        f"\nFound result file: {best}\nContents:\n{json.dumps(shown, indent=2, ensure_ascii=False)}"
    )
    told = json.loads((walk.results / "job_metadata.json").read_text())
    print(f"\n{told['verdict']}\n")
    for line in spent(told["usage_by_role"]):
        print(line)
    print(f"\nInstructions by {told['proposed_by']}.")
    if walk.model.startswith("local/"):
        print(
            "local-reader and local-proposer are small lexical programs, not language models: they"
            "\nmake the walk free, offline and repeatable. Try --model openai/gpt-4o-mini."
        )
    print(
        "\nNext: --preset all (77 labels), --rollouts 300, your own data with"
        " examples/intents/app.py;\na readable report with the numbers is in"
        f" {walk.results / 'report.md'}"
    )
    return 0


def spent(roles: Mapping[str, Mapping[str, float | None]]) -> list[str]:
    """Returns calls and money by role."""
    lines = []
    for role, usage in roles.items():
        cost = usage["cost_usd"]
        price = "price unknown" if cost is None else f"${cost:.4f}"
        lines.append(f"  {role:<10}{usage['call_count']:>6} calls   {price}")
    return lines


def free_port(wanted: int) -> int:
    """Returns the port, or another one when somebody listens on it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            probe.bind(("127.0.0.1", 0))
            print(f"Port {wanted} is taken; {probe.getsockname()[1]} is used.")
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    raise SystemExit(main())
