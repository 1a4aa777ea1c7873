"""Verifier graphs as files: JSON, YAML or TOML with the names of the proto, or a shorter form.

Shorter: `id` for `node_id`, a rubric in any form that a rubric file may have or the path of such a
file, and `source_file` for the code of a python node. Paths are relative to the graph's file.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from google.protobuf.message import Message

from burnish.api.verifier.v1 import rubric_pb2, verifier_service_pb2
from burnish.errors import BurnishError, InvalidArgument
from burnish.message_files import MessageReader
from burnish.plain import Plain, to_plain
from burnish.problems import listing
from burnish.rubric_files import load_rubric, load_value
from burnish.rubric_forms import read_rubric, unknown_keys
from burnish.rubrics import Criterion, Rubric

ENDINGS: Final = (".json", ".yaml", ".yml", ".toml")
_OUTPUT_ONLY: Final = frozenset({"version", "create_time", "shipped"})
_RUBRIC_NAMES: Final = {"event_criteria": "event"}
_AGGREGATIONS: Final = {
    "weighted_sum": rubric_pb2.AGGREGATION_WEIGHTED_SUM,
    "sum": rubric_pb2.AGGREGATION_SUM,
    "custom": rubric_pb2.AGGREGATION_CUSTOM,
    "inherit": rubric_pb2.AGGREGATION_INHERIT,
}


class GraphFileInvalid(InvalidArgument):
    """A graph that is not written as one; the message names every fault. Do not retry."""

    default_reason = "VERIFIER_GRAPH_INVALID"


def is_file(text: str) -> bool:
    """Returns whether a text that names a graph or a rubric is the path of a file."""
    return text.lower().endswith(ENDINGS)


def is_graph(value: object) -> bool:
    """Returns whether a value that was read is a graph, and not a rubric."""
    return isinstance(value, Mapping) and bool({"nodes", "output_node"} & set(value))


def load_graph(path: Path) -> verifier_service_pb2.VerifierGraph:
    """Reads a graph from a file; its ending tells the form.

    Raises:
        GraphFileInvalid: It is no graph; the message names every fault of its form.
        InvalidArgument: The file cannot be read.
    """
    return read_graph(load_value(path), base_dir=path.parent, source=path.name)


def read_graph(
    value: object, *, base_dir: Path | None = None, source: str = ""
) -> verifier_service_pb2.VerifierGraph:
    """Reads a graph from a value.

    Args:
        value: As read from JSON, YAML or TOML.
        base_dir: What paths in it are relative to; None reads no files.
        source: Name of the file, for messages.

    Raises:
        GraphFileInvalid: It is no graph; the message names every fault of its form.
    """
    graph = verifier_service_pb2.VerifierGraph()
    given = value
    if isinstance(value, Mapping):
        given = {key: item for key, item in value.items() if key not in _OUTPUT_ONLY}
    reader = _GraphReader(base_dir).reader
    problems = reader.fill(given, graph, "")
    if problems:
        named = f"verifier graph `{source}`" if source else "verifier graph"
        raise GraphFileInvalid(f"{named}: " + "; ".join(problems), metadata=listing(problems))
    return graph


def graph_value(graph: verifier_service_pb2.VerifierGraph) -> Plain:
    """Returns a graph as a value that `read_graph` reads back."""
    plain = to_plain(graph)
    return {key: item for key, item in plain.items() if key not in _OUTPUT_ONLY and item}


def rubric_message(rubric: Rubric) -> rubric_pb2.Rubric:
    """Returns a rubric as graphs carry it."""
    return rubric_pb2.Rubric(
        version=rubric.version,
        goal=rubric.goal,
        criteria=[_criterion(one) for one in rubric.criteria],
        event_criteria=[_criterion(one) for one in rubric.event_criteria],
        aggregation=_AGGREGATIONS[rubric.aggregation],
    )


def _criterion(criterion: Criterion) -> rubric_pb2.Criterion:
    return rubric_pb2.Criterion(
        criterion_id=criterion.criterion_id,
        description=criterion.description,
        weight=criterion.weight,
        required=criterion.required,
    )


class _GraphReader:
    """Reads what in a graph may be written shorter, or kept in files of their own."""

    def __init__(self, base_dir: Path | None) -> None:
        self._base_dir = base_dir
        self.reader = MessageReader(
            {
                "burnish.api.verifier.v1.VerifierNode": self._node,
                "burnish.api.verifier.v1.Rubric": self._rubric,
                "burnish.api.verifier.v1.PythonCode": self._code,
            }
        )

    def _node(self, value: object, message: Message, place: str, problems: list[str]) -> None:
        given = value
        if isinstance(value, Mapping) and "id" in value and "node_id" not in value:
            given = {"node_id" if key == "id" else key: item for key, item in value.items()}
        self.reader.fields(given, message, place, problems)

    def _rubric(self, value: object, message: Message, place: str, problems: list[str]) -> None:
        try:
            if isinstance(value, str):
                rubric = load_rubric(self._path(value))
            else:
                given = value
                if isinstance(value, Mapping):
                    named = {_RUBRIC_NAMES.get(str(key), str(key)): value[key] for key in value}
                    problems += [f"`{place}`: {line}" for line in unknown_keys(named)]
                    given = named
                rubric = read_rubric(given)
        except BurnishError as error:
            problems.append(f"`{place}`: {error.message}")
            return
        message.CopyFrom(rubric_message(rubric))

    def _code(self, value: object, message: Message, place: str, problems: list[str]) -> None:
        given = value
        if isinstance(value, Mapping) and isinstance(value.get("source_file"), str):
            given = {key: item for key, item in value.items() if key != "source_file"}
            try:
                given["source"] = self._path(value["source_file"]).read_text(encoding="utf-8")
            except (BurnishError, OSError, UnicodeDecodeError) as error:
                problems.append(f"`{place}.source_file` cannot be read: {error}")
        self.reader.fields(given, message, place, problems)

    def _path(self, text: str) -> Path:
        if self._base_dir is None:
            raise GraphFileInvalid(f"`{text}` is a file, and there is no folder to find it in")
        return self._base_dir / text
