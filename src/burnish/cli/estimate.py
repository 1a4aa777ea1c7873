"""`burnish estimate`: what a job will use, before it runs."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from burnish.cli.connected import with_client
from burnish.cli.inputs import parse_overrides
from burnish.cli.options import (
    BackendOption,
    ConfigArgument,
    SetOption,
    StateDirOption,
    TaskKeyOption,
    TaskUrlOption,
    TokenOption,
)
from burnish.cli.output import BUDGET_EXHAUSTED, JsonOption, Output, QuietOption, handled

if TYPE_CHECKING:
    from burnish.api.job.v1 import job_spec_pb2
    from burnish.api.verifier.v1 import verifier_service_pb2
    from burnish.connection import Connection
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
        float | None,
        typer.Option(min=0, help="Exit 4 when it may cost more, or the cost is unknown."),
    ] = None,
    backend: BackendOption = None,
    token: TokenOption = None,
    state_dir: StateDirOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Estimate calls, tokens and money by role, low and high."""
    from burnish.connection import find_connection
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
    graph = None
    if _only_named(loaded.spec):
        graph = _graph(loaded.spec, find_connection(backend, token, directory=state_dir), output)
    found = estimate_job(loaded.spec, graph=graph)
    for warning in found.warnings:
        output.say(f"warning: {warning}")
    output.data(asdict(found), text="\n".join(_lines(found)))
    if max_usd is not None and (found.cost_usd is None or found.cost_usd.high > max_usd):
        raise typer.Exit(BUDGET_EXHAUSTED)


def _only_named(spec: job_spec_pb2.JobSpec) -> bool:
    return spec.scoring.HasField("verifier_graph") and not spec.scoring.verifier_graph.nodes


def _graph(
    spec: job_spec_pb2.JobSpec, suite: Connection | None, output: Output
) -> verifier_service_pb2.VerifierGraph | None:
    """Returns the graph that a job names, from a suite that runs; None when there is none.

    No suite is started for it: that would go on with the jobs that wait in its directory.
    """
    from burnish.api.verifier.v1 import verifier_service_pb2
    from burnish.errors import Unavailable
    from burnish.plain import from_plain

    name = spec.scoring.verifier_graph.name
    if suite is not None:
        try:
            found = with_client(suite.target, suite.token, lambda client: client.graphs.get(name))
            return from_plain(found.plain, verifier_service_pb2.VerifierGraph())
        except Unavailable:
            output.say(f"warning: the suite at {suite.target} does not answer")
    output.say(f"warning: only a suite knows graph `{name}`; run `burnish up`, and ask again")
    return None


def _lines(found: Estimate) -> list[str]:
    lines = [
        f"{'rollouts':<10} {phase:<10} {_span(span)}" for phase, span in found.rollouts.items()
    ]
    left_out = ""
    for name, role in found.roles.items():
        if role.cost_usd is None and not role.calls.high:
            lines.append(f"{_ROLES[name]:<10} {role.model}: calls, tokens and cost unknown")
            left_out = f", without the {_ROLES[name]}"
        elif role.calls.high:
            lines.append(
                f"{_ROLES[name]:<10} {role.model}: calls {_span(role.calls)}, "
                f"tokens in {_span(role.input_tokens)}, out {_span(role.output_tokens)}, "
                f"{_dollars(role.cost_usd)}"
            )
    capped = "" if found.capped_usd is None else f" (capped at ${found.capped_usd:.2f})"
    lines.append(
        f"{'total':<10} calls {_span(found.calls)}, tokens {_span(found.tokens)}, "
        f"{_dollars(found.cost_usd)}{capped}{left_out}"
    )
    if found.test_rows:
        rows = f"{found.test_rows:,} held-out rows"
        if found.searched_rows:
            rows += f" and about {found.searched_rows:,} of the search"
        lines.append(f"{'verdict':<10} {rows} find a gain from {found.detectable_gain:.3f} on")
    return [*lines, "Assumed:", *(f"- {one}" for one in found.assumptions)]


def _span(span: Range) -> str:
    low, high = f"{span.low:,.0f}", f"{span.high:,.0f}"
    return low if low == high else f"{low} to {high}"


def _dollars(span: Range | None) -> str:
    return "cost unknown" if span is None else f"${span.low:.4f} to ${span.high:.4f}"
