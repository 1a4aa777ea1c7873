"""A DSPy program: tells what its adapters send, or makes calls."""
# mypy: disable-error-code="import-not-found, misc"

import asyncio
import json
import sys
from typing import Any

import dspy

HOLE = {"query": "{query}"}


class NameIntent(dspy.Signature):
    """Classify the query of a bank customer into one intent."""

    query: str = dspy.InputField()
    intent: str = dspy.OutputField()


def programs() -> dict[str, tuple[Any, Any]]:
    """A program and its adapter, by name."""
    return {
        "chat": (dspy.Predict(NameIntent), dspy.ChatAdapter()),
        "json": (dspy.Predict(NameIntent), dspy.JSONAdapter()),
        "thought": (dspy.ChainOfThought(NameIntent), dspy.ChatAdapter()),
    }


def messages() -> dict[str, Any]:
    """What each program sends, with a wildcard for the query."""
    return {
        name: adapter.format(getattr(program, "predict", program).signature, [], HOLE)
        for name, (program, adapter) in programs().items()
    }


def call(name: str, query: str, *, model: dict[str, Any]) -> dict[str, Any]:
    program, adapter = programs()[name]
    lm = dspy.LM("openai/gpt-mine", cache=False, **model)
    with dspy.context(lm=lm, adapter=adapter):
        try:
            whole = program(query=query)
            later = asyncio.run(program.acall(query=query))
        except dspy.LMError as error:
            kinds = [kind.__name__ for kind in type(error).__mro__]
            return {"kinds": kinds, "status": error.status, "said": str(error)}
    return {"whole": whole.toDict(), "async": later.toDict()}


def main() -> None:
    given = json.load(sys.stdin)
    if given["what"] == "messages":
        told = messages()
    else:
        told = call(given["program"], given["query"], model=given["model"])
    sys.stdout.write(json.dumps(told))


if __name__ == "__main__":
    main()
