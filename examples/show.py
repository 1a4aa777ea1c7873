"""Shows an unmodified app getting better prompts: suite and app as processes, one job, its numbers.

Exit code 3: the prompt did not get better.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from burnish.artefacts import best_prompt, write_artefacts
from burnish.client import AsyncClient
from burnish.errors import BurnishError
from burnish.suite import Suite
from examples.harness import (
    ROOT,
    AppStartFailed,
    Finished,
    Order,
    Plan,
    app_process,
    held_out_lines,
    improved,
    print_all,
    prompt_lines,
    run_job,
    spend_lines,
)

OK, FAILED, NOT_BETTER, INTERRUPTED = 0, 1, 3, 130
HONEST = (
    "About the models: `local-reader` is a small lexical matcher that reads the prompt it is sent,"
    "\nand `local-proposer` mines the labelled training rows for phrases. Neither is a language"
    "\nmodel. They make this run free, offline and repeatable; point a job at a real model with"
    "\n`[job.model]` and `[job.proposer]`."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Show:
    """What is shown.

    Attributes:
        module: The app's module.
        about: One sentence.
        folder: State directory below `.burnish`, unless the command line names another.
        plan: How large the job is.
        stages: Call sites of the app, as a job file declares them; empty lets them be learnt.
        python: Interpreter of the app, unless the command line names another.
    """

    module: str
    about: str
    folder: str
    plan: Plan
    stages: tuple[Mapping[str, object], ...] = ()
    python: str = sys.executable


def run(show: Show) -> int:
    """Runs a show by its command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=show.about)
    parser.add_argument("--json", action="store_true", help="print one JSON object, nothing else")
    parser.add_argument("--seed", type=int, default=0, help="seed of every random choice")
    parser.add_argument("--state-dir", type=Path, default=ROOT / ".burnish" / show.folder)
    parser.add_argument("--python", default=show.python, help="interpreter that runs the app")
    options = parser.parse_args()
    try:
        return asyncio.run(_show(show, options))
    except (BurnishError, AppStartFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED


async def _show(show: Show, options: argparse.Namespace) -> int:
    def say(line: str) -> None:
        if not options.json:
            print(line, flush=True)

    began = time.monotonic()
    say("Starting five services, the local models and the task app ...")
    async with contextlib.AsyncExitStack() as stack:
        suite = await stack.enter_async_context(Suite(options.state_dir))
        client = await stack.enter_async_context(AsyncClient(suite.target, token=suite.token))
        url = await stack.enter_async_context(
            app_process(show.module, folder=options.state_dir / "app", python=options.python)
        )
        say(f"Ready after {time.monotonic() - began:.1f} s. The app: {url}\n")
        finished = await run_job(
            client, Order(url=url, plan=show.plan, seed=options.seed, stages=show.stages), say=say
        )
    seconds = time.monotonic() - began
    folder = options.state_dir / "results" / finished.snapshot.job_id
    files = write_artefacts(folder, finished.snapshot, finished.outcome)
    if options.json:
        print(json.dumps(as_data(finished, files, seconds=seconds), indent=2))
    else:
        print_all(summary(finished, folder, seconds=seconds))
    if finished.snapshot.state != "succeeded":
        return FAILED
    return OK if improved(finished.outcome) else NOT_BETTER


def summary(finished: Finished, folder: Path, *, seconds: float) -> list[str]:
    """Returns what was found, for a person."""
    outcome = finished.outcome
    rule, lines = "=" * 78, [""]
    if finished.snapshot.failure is None:
        lines += [rule, "The winning prompt", rule, *prompt_lines(outcome), rule, ""]
    else:
        reason, message = finished.snapshot.failure
        lines += [f"The job failed: {reason}: {message}", ""]
    if outcome.verdict:
        lines += [outcome.verdict, ""]
    tested = held_out_lines(outcome)
    if tested:
        lines += ["On the same held-out rows, which no part of the search has seen:", *tested, ""]
    lines += ["Spent, by role:", *spend_lines(outcome), f"  {seconds:.1f} s in all", "", HONEST]
    if outcome.proposed_by:
        lines += [f"Instructions by {outcome.proposed_by}."]
    lines += [""]
    return [*lines, f"Prompt, scores, demos and a report: {folder}"]


def as_data(finished: Finished, files: dict[str, Path], *, seconds: float) -> dict[str, object]:
    """Returns what was found, for a program."""
    outcome = finished.outcome
    tested = {
        name: None if one is None or one.test is None else asdict(one.test)
        for name, one in (("baseline", outcome.baseline), ("winner", outcome.challenger))
    }
    return {
        "job_id": finished.snapshot.job_id,
        "state": finished.snapshot.state,
        "verdict": outcome.verdict,
        "improved": improved(outcome),
        **tested,
        "difference": None if outcome.improvement is None else asdict(outcome.improvement),
        "usage_by_role": {role: asdict(one) for role, one in outcome.usage_by_role.items()},
        "rollouts_by_phase": dict(outcome.rollouts_by_phase),
        "models": HONEST.replace("\n", " "),
        "proposed_by": outcome.proposed_by,
        "prompt": None if outcome.best is None else best_prompt(outcome.best),
        "artefacts": {name: str(path) for name, path in files.items()},
        "seconds": round(seconds, 1),
    }
