"""The graphs that come with Burnish: a JSON file each, whose name is the graph's id."""

from __future__ import annotations

from importlib.resources import files

from google.protobuf.json_format import Parse

from burnish.api.verifier import v1 as verifier_v1
from burnish_verifier.convert_graph import graph_of
from burnish_verifier.graph import Graph

_PACKAGE = "burnish_verifier.judges"
_FOLDER = "graphs"
_SUFFIX = ".json"


def shipped_graphs() -> dict[str, Graph]:
    """Returns the graphs by id."""
    folder = files(_PACKAGE).joinpath(_FOLDER)
    if not folder.is_dir():
        return {}
    return {
        file.name.removesuffix(_SUFFIX): graph_of(
            Parse(file.read_text(encoding="utf-8"), verifier_v1.VerifierGraph())
        )
        for file in sorted(folder.iterdir(), key=lambda each: each.name)
        if file.name.endswith(_SUFFIX)
    }
