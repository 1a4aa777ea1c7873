"""Finds every fault of a verifier graph at once, each with a fix."""

from __future__ import annotations

import ast
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter

from burnish_verifier.checks.base import Kinds, SandboxedKind, Settings
from burnish_verifier.graph import MAX_NODES, STEP_KINDS, Graph, GraphInvalid, Node, feeding
from burnish_verifier.judges.problems import problems as judge_problems
from burnish_verifier.steps import (
    MEBIBYTE,
    Aggregate,
    BuiltinCheck,
    Gate,
    Majority,
    PythonCode,
    RemoteNode,
    RubricJudge,
    Similarity,
    WeightedMean,
)

_MAX_SOURCE = 64 * 1024
_MAX_CODE_SECONDS = 60.0
_LEAST_MEMORY, _MOST_MEMORY = 64 * MEBIBYTE, 4096 * MEBIBYTE
_MAX_REMOTE_SECONDS = 600.0
_MAX_TRIES = 9
_MAX_CYCLES = 16
# As many as go into the head of an answer.
_MAX_LISTED = 50


def _nothing(_: str) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Abilities:
    """What the verifier at hand can evaluate.

    Attributes:
        kinds: Checks by name.
        remote_refusal: Why a remote target is not asked; empty for one that is.
        code_refusal: Why code is not run; empty when it is.
        embedding_refusal: Why a provider is asked for no embeddings; empty for one that is.
    """

    kinds: Kinds
    remote_refusal: Callable[[str], str] = _nothing
    code_refusal: str = ""
    embedding_refusal: Callable[[str], str] = _nothing


def validate(graph: Graph, able: Abilities) -> None:
    """Checks a graph.

    Args:
        graph: The graph.
        able: What may be in it.

    Raises:
        GraphInvalid: It has faults; the message names every one, with a fix. The metadata has them
            one by one, as `problem_01` and so on, and their number as `problems`.
    """
    problems = _shape_problems(graph)
    for node in graph.nodes[:MAX_NODES]:
        problems += [f"node `{node.node_id}`: {text}" for text in _node_problems(node, able)]
    problems += _result_problems(graph)
    if problems:
        raise GraphInvalid("verifier graph: " + "; ".join(problems), metadata=_listing(problems))


def _shape_problems(graph: Graph) -> list[str]:
    ids = [node.node_id for node in graph.nodes]
    problems = []
    if not ids:
        return ["it has no nodes; give at least one"]
    if len(ids) > MAX_NODES:
        return [f"it has {len(ids)} nodes; give at most {MAX_NODES}"]
    repeated = sorted({node_id for node_id in ids if ids.count(node_id) > 1})
    if repeated:
        one = len(repeated) == 1
        problems.append(
            f"{'node id' if one else 'node ids'} {_listed(repeated)} {'is' if one else 'are'} used "
            "twice; make every id unique"
        )
    if "" in ids:
        problems.append("a node has no `node_id`; name it")
    for node in graph.nodes:
        unknown = sorted(set(node.inputs) - set(ids))
        if unknown:
            verb = "does" if len(unknown) == 1 else "do"
            problems.append(
                f"node `{node.node_id}` reads {_listed(unknown)}, which {verb} not exist; "
                "correct the name, or add the node"
            )
        if len(set(node.inputs)) != len(node.inputs):
            problems.append(f"node `{node.node_id}` reads an input twice; name it once")
    for name, node_id in (("output_node", graph.output_node), ("event_node", graph.event_node)):
        if node_id not in ids and (node_id or name == "output_node"):
            problems.append(f"`{name}` is {node_id!r}; give the id of a node")
    problems += _cycles(graph)
    unused = sorted(set(ids) - feeding(graph))
    if unused and graph.output_node in ids:
        one = len(unused) == 1
        problems.append(
            f"{'node' if one else 'nodes'} {_listed(unused)} {'does' if one else 'do'} not feed "
            f"`output_node`; use or remove {'it' if one else 'them'}"
        )
    return problems


def _cycles(graph: Graph) -> list[str]:
    inputs = {node.node_id: set(node.inputs) for node in graph.nodes}
    problems: list[str] = []
    while len(problems) < _MAX_CYCLES:
        try:
            TopologicalSorter(inputs).prepare()
        except CycleError as error:
            circle = error.args[1]
            problems.append(f"nodes {' -> '.join(circle)} read each other in a circle; break it")
            # With this edge away, another circle shows.
            inputs[circle[1]].discard(circle[0])
        else:
            break
    return problems


def _result_problems(graph: Graph) -> list[str]:
    by_id = {node.node_id: node for node in graph.nodes}
    problems = []
    output, event = by_id.get(graph.output_node), by_id.get(graph.event_node)
    if output is not None and not _has_score(output):
        problems.append(
            f"`output_node` `{output.node_id}` has no score of its own, as it is a judge of events "
            "alone, or its rubric has aggregation custom; let a python or remote node read it"
        )
    if event is not None and not _has_events(event):
        problems.append(
            f"`event_node` `{event.node_id}` judges no events; name a judge with event criteria, a "
            "python or a remote node"
        )
    for node in graph.nodes:
        scoreless = [name for name in node.inputs if name in by_id and not _has_score(by_id[name])]
        if isinstance(node.step, Aggregate) and scoreless:
            problems.append(
                f"node `{node.node_id}` aggregates {_listed(scoreless)}, without a score of their "
                "own; let a python or remote node read them"
            )
    return problems


def _has_score(node: Node) -> bool:
    if not isinstance(node.step, RubricJudge) or node.step.rubric is None:
        return True
    rubric = node.step.rubric
    if rubric.aggregation == "inherit":
        return True
    return rubric.aggregation != "custom" and bool(rubric.criteria)


def _has_events(node: Node) -> bool:
    if isinstance(node.step, RubricJudge):
        rubric = node.step.rubric
        return rubric is None or rubric.aggregation == "inherit" or bool(rubric.event_criteria)
    return isinstance(node.step, PythonCode | RemoteNode)


def _node_problems(node: Node, able: Abilities) -> list[str]:
    step = node.step
    if step is None:
        return [f"it says not what it does; give one of {', '.join(sorted(STEP_KINDS))}"]
    if isinstance(step, Aggregate):
        return _aggregate_problems(node, step)
    if isinstance(step, PythonCode):
        return _code_problems(step, able)
    if isinstance(step, RemoteNode):
        return _remote_problems(step, able)
    problems = ["it reads no inputs; remove them"] if node.inputs else []
    if isinstance(step, RubricJudge):
        return problems + judge_problems(step, node.scope)
    if node.scope == "transcript":
        problems.append("it reads the output or the final message, not the transcript")
    if isinstance(step, Similarity):
        return problems + _similarity_problems(step, able)
    return problems + _check_problems(step, able)


def _check_problems(step: BuiltinCheck, able: Abilities) -> list[str]:
    kind = able.kinds.get(step.check)
    if kind is None:
        return [f"check `{step.check}` is not known; known: {', '.join(sorted(able.kinds))}"]
    settings = Settings(step.settings)
    kind.build(settings)
    problems = [f"`{step.check}`: {problem}" for problem in settings.finish()]
    if isinstance(kind, SandboxedKind) and able.code_refusal:
        problems.append(able.code_refusal)
    return problems


def _similarity_problems(step: Similarity, able: Abilities) -> list[str]:
    problems = []
    if step.model is not None and step.method == "embedding":
        refusal = able.embedding_refusal(step.model.provider)
        problems += [refusal] if refusal else []
        if not step.model.model:
            problems.append("`model.model` is empty; name the embedding model")
    if not 0 <= step.floor < 1:
        problems.append(f"`floor` is {step.floor!r}; give a number in [0, 1)")
    if step.method == "exact" and step.model is not None:
        problems.append("`exact` asks no model; remove it, or set `method` to embedding")
    return problems


def _code_problems(step: PythonCode, able: Abilities) -> list[str]:
    problems = [able.code_refusal] if able.code_refusal else []
    if len(step.source.encode()) > _MAX_SOURCE:
        problems.append(f"`source` has over {_MAX_SOURCE} bytes; shorten it")
    else:
        problems += _source_problems(step)
    if not 0 < step.time_limit <= _MAX_CODE_SECONDS:
        problems.append(
            f"`time_limit` is {step.time_limit!r} s; "
            f"give a time in (0 s, {_MAX_CODE_SECONDS:.0f} s]"
        )
    if not _LEAST_MEMORY <= step.memory_limit <= _MOST_MEMORY:
        problems.append(
            f"`memory_limit_bytes` is {step.memory_limit}; "
            f"give a number in [{_LEAST_MEMORY}, {_MOST_MEMORY}]"
        )
    return problems


def _source_problems(step: PythonCode) -> list[str]:
    try:
        # Warnings of the source would go to the service's log.
        with warnings.catch_warnings(action="ignore"):
            tree = ast.parse(step.source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        place = f" in line {error.lineno}" if isinstance(error, SyntaxError) else ""
        return [f"`source` is no Python{place}; correct it"]
    defined = {item.name for item in tree.body if isinstance(item, ast.FunctionDef)}
    if step.function not in defined:
        return [f"`source` defines no function `{step.function}`; add it"]
    return []


def _remote_problems(step: RemoteNode, able: Abilities) -> list[str]:
    refusal = able.remote_refusal(step.target)
    problems = [refusal] if refusal else []
    if not 0 < step.timeout <= _MAX_REMOTE_SECONDS:
        problems.append(
            f"`timeout` is {step.timeout!r} s; give a time in (0 s, {_MAX_REMOTE_SECONDS:.0f} s]"
        )
    if not 1 <= step.attempts <= _MAX_TRIES:
        problems.append(f"`attempt_count` is {step.attempts}; give a number in [1, {_MAX_TRIES}]")
    return problems


def _aggregate_problems(node: Node, step: Aggregate) -> list[str]:
    problems = ["it needs inputs; name at least one"] if not node.inputs else []
    if isinstance(step, WeightedMean):
        strangers = sorted(set(step.weights) - set(node.inputs))
        if strangers:
            problems.append(f"weights for {_listed(strangers)}, which are no inputs; remove them")
        for name, weight in sorted(step.weights.items()):
            if not (math.isfinite(weight) and weight > 0):
                problems.append(f"weight of `{name}` is {weight!r}; give a finite number above 0")
    elif isinstance(step, Gate):
        strangers = sorted(set(step.gates) - set(node.inputs))
        if strangers:
            problems.append(f"gates {_listed(strangers)} are no inputs; add them to `inputs`")
        if not step.gates:
            problems.append("it has no gates; name at least one of its inputs")
        if not 0 < step.threshold <= 1:
            problems.append(f"`threshold` is {step.threshold!r}; give a number in (0, 1]")
    elif isinstance(step, Majority) and not 0 < step.threshold <= 1:
        problems.append(f"`threshold` is {step.threshold!r}; give a number in (0, 1]")
    return problems


def _listing(problems: Sequence[str]) -> dict[str, str]:
    shown = {f"problem_{place:02}": text for place, text in enumerate(problems[:_MAX_LISTED], 1)}
    return {"problems": str(len(problems)), **shown}


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
