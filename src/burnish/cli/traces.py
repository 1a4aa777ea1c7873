"""`burnish traces`: what the calls of one rollout said."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from burnish.cli.connected import with_client
from burnish.cli.options import BackendOption, TokenOption
from burnish.cli.output import JsonOption, Output, handled

if TYPE_CHECKING:
    from burnish.client import AsyncClient

app = typer.Typer()
_SHOWN_CHARACTERS = 200


@app.command()
@handled
def traces(
    rollout: Annotated[str, typer.Argument(help="Id of the rollout.")],
    compact: Annotated[
        bool, typer.Option("--compact", help="The compact form, as verifiers read it.")
    ] = False,
    provider_view: Annotated[
        bool,
        typer.Option("--provider-view", help="What the provider was sent, candidate included."),
    ] = False,
    backend: BackendOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the calls of a rollout in trace format 3."""

    async def work(client: AsyncClient) -> dict[str, Any]:
        return await client.traces.session(rollout, compact=compact, provider_view=provider_view)

    document = with_client(backend, token, work)
    lines = None if compact else "\n".join(_lines(document))
    Output(json=as_json).data(document, text=lines)


def _lines(document: dict[str, Any]) -> list[str]:
    found = []
    for event in document["event_history"]:
        record = event["call_records"][0]
        stage = event["metadata"]["stage_id"] or "unmatched"
        usage = record["usage"]
        tokens = f"{usage['prompt_tokens']}+{usage['completion_tokens']} tokens"
        found.append(
            f"{record['started_at']}  {stage}  {record['provider']}/{record['model_name']}  "
            f"{record['latency_ms']:.0f} ms  {tokens}  {record['outcome']}"
        )
        answer = record["output_text"] or record["output_tool_calls"] or record["error"]
        found.append(f"    {str(answer)[:_SHOWN_CHARACTERS]}")
    return found
