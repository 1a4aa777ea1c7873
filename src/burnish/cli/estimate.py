"""`burnish estimate`: what a job will use, before it runs."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from burnish.cli.options import ConfigArgument, SetOption, TaskKeyOption, TaskUrlOption
from burnish.cli.output import BUDGET_EXHAUSTED, JsonOption, Output, QuietOption, handled
from burnish.cli.train import parse_overrides

if TYPE_CHECKING:
    from burnish.estimates import Estimate, Range

app = typer.Typer()
_ROLES = {"task": "policy", "proposer": "proposer", "judge": "judge"}


@app.command()
@handled
def estimate(
    config: ConfigArgument,
    task_url: TaskUrlOption = None,
    task_app_key: TaskKeyOption = None,
    set_values: SetOption = None,
    max_usd: Annotated[
        float | None, typer.Option(help="Exit 4 when it may cost more, or the cost is unknown.")
    ] = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Estimate calls, tokens and money by role, low and high."""
    from burnish.estimates import estimate_job
    from burnish.job_loading import load_job

    output = Output(json=as_json, quiet=quiet)
    loaded = asyncio.run(
        load_job(
            config,
            overrides=parse_overrides(set_values or []),
            task_app_url=task_url,
            task_app_api_key=task_app_key,
        )
    )
    for warning in loaded.warnings:
        output.say(f"warning: {warning}")
    found = estimate_job(loaded.spec)
    output.data(asdict(found), text="\n".join(_lines(found)))
    if max_usd is not None and (found.cost_usd is None or found.cost_usd.high > max_usd):
        raise typer.Exit(BUDGET_EXHAUSTED)


def _lines(found: Estimate) -> list[str]:
    lines = [
        f"{'rollouts':<10} {phase:<10} {_span(span)}" for phase, span in found.rollouts.items()
    ]
    for name, role in found.roles.items():
        if role.cost_usd is None or role.calls.high:
            lines.append(
                f"{_ROLES[name]:<10} {role.model}: calls {_span(role.calls)}, "
                f"tokens in {_span(role.input_tokens)}, out {_span(role.output_tokens)}, "
                f"{_dollars(role.cost_usd)}"
            )
    capped = "" if found.capped_usd is None else f" (capped at ${found.capped_usd:.2f})"
    lines.append(
        f"{'total':<10} calls {_span(found.calls)}, tokens {_span(found.tokens)}, "
        f"{_dollars(found.cost_usd)}{capped}"
    )
    return [*lines, "Assumed:", *(f"- {one}" for one in found.assumptions)]


def _span(span: Range) -> str:
    low, high = f"{span.low:,.0f}", f"{span.high:,.0f}"
    return low if low == high else f"{low} to {high}"


def _dollars(span: Range | None) -> str:
    return "cost unknown" if span is None else f"${span.low:.4f} to ${span.high:.4f}"
