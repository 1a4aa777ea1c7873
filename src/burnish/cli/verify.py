"""`burnish verify ...`: score saved rollouts with a graph; check, register and measure graphs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from burnish.cli.connected import show_page, with_client
from burnish.cli.options import (
    BackendOption,
    LimitOption,
    PageTokenOption,
    StateDirOption,
    TokenOption,
)
from burnish.cli.output import FAILED, USAGE, JsonOption, Output, QuietOption, handled
from burnish.errors import InvalidArgument

if TYPE_CHECKING:
    from burnish.api.types.v1 import model_pb2, rollout_pb2
    from burnish.api.verifier.v1 import rubric_pb2
    from burnish.client import AsyncClient
    from burnish.embedded import BackendChoice

T = TypeVar("T")

app = typer.Typer(help="Verifier graphs and judges.", no_args_is_help=True)

GraphOption = Annotated[
    str,
    typer.Option(
        "--graph", "-g", help="Id, id@version, or a file (JSON, YAML, TOML) with the graph."
    ),
]
RubricOption = Annotated[
    Path | None, typer.Option("--rubric", help="Rubric (YAML, JSON, TOML) that judges go by.")
]
ModelOption = Annotated[str, typer.Option("--model", help="Model of every judge, provider/model.")]
MoneyOption = Annotated[
    float | None,
    typer.Option("--max-usd", min=0, help="Most that judges may cost; only free ones without it."),
]
DEFAULT_GRAPH = "zero_shot_verifier"
_PARTS = 3


@app.command()
@handled
def run(
    trace: Annotated[Path, typer.Argument(help="Saved trace or rollouts (JSON or JSON lines).")],
    graph: GraphOption = DEFAULT_GRAPH,
    rubric: RubricOption = None,
    model: ModelOption = "",
    max_usd: MoneyOption = None,
    weight: Annotated[
        list[str] | None, typer.Option(help="part=weight of env, event, outcome; outcome alone.")
    ] = None,
    backend: BackendOption = None,
    token: TokenOption = None,
    state_dir: StateDirOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Score saved rollouts with a graph, and show what every node says and why."""
    from burnish.cli.verify_text import score_lines
    from burnish.graphs import ScoreOptions, require_set_up
    from burnish.saved_rollouts import load_rollouts, session_traces

    output = Output(json=as_json, quiet=quiet)
    rollouts = load_rollouts(trace)
    options = ScoreOptions(
        weights=_weights(weight or []),
        session_traces=session_traces(rollouts),
        judge_options=_judge_options(rubric, model),
        max_cost_usd=max_usd,
    )

    async def work(client: AsyncClient) -> bool:
        name = await _graph(client, graph)
        messages = [one.message for one in rollouts]
        # What is wrong with the set-up is told once, by the first, and not by every row.
        first = await client.graphs.score(name, messages[:1], options=options)
        require_set_up(first[0])
        scores = [*first, *await client.graphs.score(name, messages[1:], options=options)]
        output.data(
            {"verifier_graph": name, "rollouts": [one.plain for one in scores]},
            text="\n".join(
                [f"graph  {name}", *(line for one in scores for line in score_lines(one))]
            ),
        )
        if any(one.simulated for one in scores):
            output.say("a simulated judge had a part in this: it says nothing of a real one")
        return all(one.reward is not None for one in scores)

    if not _anywhere(_choice(backend, token, state_dir), work):
        raise typer.Exit(FAILED)


@app.command()
@handled
def check(
    file: Annotated[Path, typer.Argument(help="Graph or rubric (JSON, YAML or TOML).")],
    strict: Annotated[
        bool, typer.Option("--strict", help="Rules of rubrics for step judges: weights sum to 1.")
    ] = False,
    backend: BackendOption = None,
    token: TokenOption = None,
    state_dir: StateDirOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Check a graph or a rubric, and tell every fault at once."""
    from burnish.graph_files import is_graph, read_graph
    from burnish.problems import listed
    from burnish.rubric_files import load_value
    from burnish.rubric_forms import checked_rubric

    output = Output(json=as_json, quiet=quiet)
    kind = "graph"
    try:
        value = load_value(file)
        if is_graph(value):
            graph = read_graph(value, base_dir=file.parent, source=file.name)
            choice = _choice(backend, token, state_dir)
            found = _anywhere(choice, lambda client: client.graphs.check(graph))
            shown = f"{len(found.nodes)} nodes"
        else:
            kind = "rubric"
            rubric = checked_rubric(value, strict=strict)
            shown = f"{len(rubric.criteria)} criteria, {len(rubric.event_criteria)} of events"
    except InvalidArgument as error:
        problems = listed(error)
        output.data(
            {"valid": False, "kind": kind, "reason": error.reason, "problems": problems},
            text="\n".join(f"✗ {problem}" for problem in problems),
        )
        output.say(f"{file}: {len(problems)} problems")
        raise typer.Exit(USAGE) from None
    output.data({"valid": True, "kind": kind}, text=f"{file}: a valid {kind} ({shown})")


@app.command(name="list")
@handled
def list_graphs(
    graph: Annotated[
        str, typer.Argument(help="Graph whose versions are shown; every graph without it.")
    ] = "",
    limit: LimitOption = 50,
    page_token: PageTokenOption = "",
    backend: BackendOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """List the graphs of a running suite, or every version of one."""
    output = Output(json=as_json, quiet=quiet)

    async def work(client: AsyncClient) -> None:
        page = await client.graphs.list(graph=graph, page_size=limit, page_token=page_token)
        show_page(
            output,
            {
                "verifier_graphs": [one.plain for one in page.graphs],
                "next_page_token": page.next_page_token,
            },
            command="burnish verify list",
            columns=["GRAPH", "VERSION", "NODES", "FROM", "FOR"],
            rows=[
                [
                    one.graph_id,
                    str(one.version),
                    ", ".join(f"{node} ({kind})" for node, kind in one.nodes),
                    "burnish" if one.shipped else "you",
                    one.description,
                ]
                for one in page.graphs
            ],
        )

    with_client(backend, token, work)


@app.command()
@handled
def register(
    file: Annotated[Path, typer.Argument(help="The graph (JSON, YAML or TOML).")],
    name: Annotated[
        str, typer.Option(help="Id of the graph; the file's own, else a hash of its content.")
    ] = "",
    backend: BackendOption = None,
    token: TokenOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Register a graph: a new version of its name, for jobs that are created from now on."""
    from burnish.graph_files import load_graph

    output = Output(json=as_json, quiet=quiet)
    graph = load_graph(file)

    async def work(client: AsyncClient) -> None:
        found = await client.graphs.register(graph, name=name)
        output.data(found.plain, text=f"{found.graph_id}@{found.version}")
        output.say(f"jobs take it as graph = {found.graph_id!r}; running jobs keep theirs")

    with_client(backend, token, work)


@app.command()
@handled
def calibrate(
    labelled: Annotated[
        Path, typer.Argument(help="Rollouts with a `label` each (JSON or JSON lines).")
    ],
    graph: GraphOption = DEFAULT_GRAPH,
    rubric: RubricOption = None,
    model: ModelOption = "",
    repeats: Annotated[int, typer.Option(min=1, max=20, help="Judgements of each rollout.")] = 3,
    threshold: Annotated[
        float, typer.Option(min=0.01, max=1, help="Score from which a rollout passes.")
    ] = 0.5,
    max_usd: MoneyOption = None,
    backend: BackendOption = None,
    token: TokenOption = None,
    state_dir: StateDirOption = None,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure how well a graph's judges agree with labels, and with themselves."""
    from burnish.cli.verify_text import quality_lines
    from burnish.judge_quality import QualityOptions, measure
    from burnish.saved_rollouts import load_rollouts

    output = Output(json=as_json, quiet=quiet)
    rollouts = load_rollouts(labelled)
    options = QualityOptions(
        repeats=repeats,
        threshold=threshold,
        judge_options=_judge_options(rubric, model),
        max_cost_usd=max_usd,
    )

    async def work(client: AsyncClient) -> None:
        name = await _graph(client, graph)
        found = await measure(client.graphs, name, rollouts, options)
        output.data(asdict(found), text="\n".join(quality_lines(found)))

    _anywhere(_choice(backend, token, state_dir), work)


async def _graph(client: AsyncClient, named: str) -> str:
    """Returns the version of a graph that is meant; one in a file is registered by its content."""
    from burnish.graph_files import is_file, load_graph

    if not is_file(named):
        return (await client.graphs.get(named)).name
    graph = load_graph(Path(named))
    graph.ClearField("name")
    return (await client.graphs.register(graph)).name


def _judge_options(rubric: Path | None, model: str) -> rubric_pb2.JudgeOptions:
    from burnish.api.verifier.v1 import rubric_pb2
    from burnish.graph_files import rubric_message
    from burnish.rubric_files import load_rubric

    options = rubric_pb2.JudgeOptions()
    if rubric is not None:
        options.rubric.CopyFrom(rubric_message(load_rubric(rubric)))
    if model:
        options.model.CopyFrom(_model(model))
    return options


def _model(text: str) -> model_pb2.ModelSpec:
    from burnish.api.types.v1 import model_pb2

    provider, slash, name = text.partition("/")
    if not slash or not name:
        raise InvalidArgument(
            f"`{text}` is not `provider/model`, such as `local/local-judge`",
            reason="MODEL_INVALID",
        )
    return model_pb2.ModelSpec(provider=provider, model=name)


def _weights(words: list[str]) -> rollout_pb2.RewardWeights | None:
    from burnish.api.types.v1 import rollout_pb2

    if not words:
        return None
    found = {"env": 0.0, "event": 0.0, "outcome": 0.0}
    for word in words:
        part, _, number = word.partition("=")
        try:
            found["env" if part == "environment" else part] = float(number)
        except ValueError:
            part = ""
        if part not in {*found, "environment"} or len(found) > _PARTS:
            raise InvalidArgument(
                f"`{word}` is not `part=weight` with env, event or outcome, such as `env=0.5`",
                reason="WEIGHT_INVALID",
            )
    return rollout_pb2.RewardWeights(
        environment=found["env"], event=found["event"], outcome=found["outcome"]
    )


def _choice(backend: str | None, token: str | None, state_dir: Path | None) -> BackendChoice:
    from burnish.embedded import BackendChoice

    return BackendChoice(target=backend, token=token, state_dir=state_dir)


def _anywhere(choice: BackendChoice, work: Callable[[AsyncClient], Awaitable[T]]) -> T:
    """Does work on the suite that is configured or runs here, or on one started meanwhile."""
    from burnish.embedded import open_backend

    async def run() -> T:
        async with open_backend(choice) as opened:
            return await opened.guard(_awaited(work(opened.client)))

    return asyncio.run(run())


async def _awaited(work: Awaitable[T]) -> T:
    return await work
