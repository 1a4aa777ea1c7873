"""`burnish policy ...`: serve what a job found to online traffic, and steer who gets it."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from burnish.cli.connected import show_page, with_client
from burnish.cli.options import BackendOption, LimitOption, PageTokenOption, TokenOption
from burnish.cli.output import JsonOption, Output, QuietOption, handled
from burnish.errors import InvalidArgument, NotFound

if TYPE_CHECKING:
    from burnish.client import AsyncClient
    from burnish.policies import PolicySnapshot

app = typer.Typer(help="Prompts served to online traffic.", no_args_is_help=True)

_PAGE = 200

PolicyArgument = Annotated[str, typer.Argument(help="Id or name of the policy.")]
VersionOption = Annotated[
    int | None,
    typer.Option(min=0, help="Only when the policy has this version; 0 when it is new."),
]


@app.command()
@handled
def publish(
    job: Annotated[str, typer.Argument(help="Id or name of the job.")] = "",
    name: Annotated[
        str, typer.Option(help="Id of the policy; the job's with `-live` appended.")
    ] = "",
    weight: Annotated[
        float | None,
        typer.Option(min=0, max=1, help="Share of the job's winner; 0.1, the rest its baseline."),
    ] = None,
    candidate: Annotated[str, typer.Option(help="Another candidate of the job.")] = "",
    file: Annotated[
        Path | None, typer.Option(help="A policy written by hand (TOML or JSON), without a job.")
    ] = None,
    expected_version: VersionOption = None,
    backend: BackendOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Serve a job's winner to a share of the traffic, or a policy written by hand."""
    output = Output(json=as_json, quiet=quiet)
    _require_one(job, file, name)
    spec = None if file is None else _read(file)

    async def work(client: AsyncClient) -> None:
        if spec is None:
            found = await client.policies.publish(
                job,
                name=name,
                share=weight,
                candidate_id=candidate,
                expected_version=expected_version,
            )
        else:
            found = await client.policies.publish_spec(
                name, spec, expected_version=expected_version
            )
        output.data(found.plain, text="\n".join(_described(found)))
        output.say(f"give your OpenAI client base_url={found.base_url} and the suite's token as")
        output.say("its API key; name each rollout in the header x-burnish-rollout")

    with_client(backend, token, work)


@app.command(name="list")
@handled
def list_policies(
    limit: LimitOption = 50,
    page_token: PageTokenOption = "",
    backend: BackendOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """List online policies by name."""
    output = Output(json=as_json, quiet=quiet)

    async def work(client: AsyncClient) -> None:
        page = await client.policies.list(page_size=limit, page_token=page_token)
        policies = [one.plain for one in page.policies]
        show_page(
            output,
            {"policies": policies, "next_page_token": page.next_page_token},
            command="burnish policy list",
            columns=["POLICY", "VERSION", "ARMS", "JOB", "SERVED BY"],
            rows=[
                [
                    one.policy_id,
                    str(one.version),
                    ", ".join(f"{arm.arm} {arm.share:.0%}" for arm in one.arms) or "-",
                    one.job.removeprefix("jobs/") or "-",
                    _served_by(one),
                ]
                for one in page.policies
            ],
        )

    with_client(backend, token, work)


@app.command()
@handled
def get(
    policy: PolicyArgument,
    backend: BackendOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show a policy, and which interceptors serve it."""
    output = Output(json=as_json)

    async def work(client: AsyncClient) -> None:
        try:
            found = await client.policies.get(policy)
        except NotFound as error:
            # The id of a job is one of a policy too, so the controller says that no job is there.
            raise _unknown(policy, reason=error.reason) from None
        output.data(found.plain, text="\n".join(_described(found)))

    with_client(backend, token, work)


@app.command()
@handled
def set_weights(
    policy: PolicyArgument,
    weights: Annotated[list[str], typer.Argument(help="arm=weight, one or more.")],
    expected_version: VersionOption = None,
    backend: BackendOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change the weights of some arms; rollouts under way keep theirs."""
    output = Output(json=as_json)
    wanted = _weights(weights)

    async def work(client: AsyncClient) -> None:
        found = await client.policies.set_weights(policy, wanted, expected_version=expected_version)
        output.data(found.plain, text="\n".join(_described(found)))

    with_client(backend, token, work)


@app.command()
@handled
def delete(
    policy: PolicyArgument,
    backend: BackendOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
) -> None:
    """Stop serving a policy: its URL answers 503 from then on."""
    output = Output(json=as_json)

    async def work(client: AsyncClient) -> None:
        # The controller leaves what is gone as it is, so that a second try does no harm.
        if not await _is_online(client, policy):
            raise _unknown(policy)
        await client.policies.delete(policy)
        output.data({"deleted": policy}, text=f"{policy} deleted")

    with_client(backend, token, work)


async def _is_online(client: AsyncClient, policy: str) -> bool:
    from burnish.policies import policy_name

    name, token = policy_name(policy), ""
    while True:
        page = await client.policies.list(page_size=_PAGE, page_token=token)
        if any(one.name == name for one in page.policies):
            return True
        token = page.next_page_token
        if not token:
            return False


def _unknown(policy: str, *, reason: str = "POLICY_NOT_FOUND") -> NotFound:
    return NotFound(
        f"there is no online policy `{policy}`; `burnish policy list` shows their names",
        reason=reason,
        metadata={"policy": policy},
    )


def _require_one(job: str, file: Path | None, name: str) -> None:
    if bool(job) == (file is not None):
        raise InvalidArgument("give a job, or --file with a policy", reason="SOURCE_UNCLEAR")
    if file is not None and not name:
        raise InvalidArgument("--file needs --name, the policy's id", reason="NAME_MISSING")


def _read(file: Path) -> Mapping[str, object]:
    text = file.read_text(encoding="utf-8")
    try:
        found = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except ValueError as error:
        raise InvalidArgument(f"`{file}`: {error}", reason="FILE_UNREADABLE") from None
    if not isinstance(found, dict):
        raise InvalidArgument(f"`{file}` holds no table", reason="FILE_UNREADABLE")
    return found


def _weights(words: Sequence[str]) -> dict[str, float]:
    found = {}
    for word in words:
        arm, equals, number = word.partition("=")
        try:
            found[arm] = float(number)
        except ValueError:
            equals = ""
        if not equals or not arm:
            raise InvalidArgument(
                f"`{word}` is not `arm=weight`, such as `winner=0.5`", reason="WEIGHT_INVALID"
            )
    return found


def _described(policy: PolicySnapshot) -> list[str]:
    lines = [
        f"policy    {policy.policy_id}",
        f"version   {policy.version}",
        f"base URL  {policy.base_url or '-'}",
        f"job       {policy.job.removeprefix('jobs/') or '-'}",
    ]
    lines += [f"stage     {stage}: {model}" for stage, model in policy.stages.items()]
    lines += [
        f"arm       {arm.arm}: {arm.share:.1%} (weight {arm.weight:g})" for arm in policy.arms
    ]
    for one in policy.replicas:
        state = "serves it" if one.applied else "does not serve the last change yet"
        if one.rejection is not None:
            state = f"refused it: {one.rejection[0]}: {one.rejection[1]}"
        lines.append(f"replica   {one.node_id}: {'' if one.connected else 'away; '}{state}")
    return lines


def _served_by(policy: PolicySnapshot) -> str:
    served = sum(one.applied and one.connected for one in policy.replicas)
    refused = sum(one.rejection is not None for one in policy.replicas)
    connected = sum(one.connected for one in policy.replicas)
    return f"{served} of {connected}" + (f", {refused} refused" if refused else "")
