"""Prints how far attacks move the scores of each shipped graph: `python -m tests.attacks.report`.

Without options the simulated local judge is measured. It cannot be talked into anything: what moves
it are words, and characters that leave their place. A real judge is measured with `--provider` and
`--model`; its calls are paid for, so bound them with `--limit`.
"""

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence

from burnish.local.judge import judge as local_judge
from burnish_runtime.llm.base import Completion, CompletionRequest, JsonSchema, LlmProvider
from burnish_runtime.llm.registry import ProviderRegistry
from burnish_runtime.settings import ServiceSettings
from burnish_verifier.graph import Graph
from burnish_verifier.judges.asking import JudgeModel, Question
from burnish_verifier.shipped import shipped_graphs
from burnish_verifier.steps import RubricJudge
from tests.attacks.attacks import Attack, cases, corpus, mutations
from tests.attacks.measure import Effect, effect, of_graph
from tests.attacks.renderings import obedient, scorer
from tests.unit.judges.judge_models import simulated

_ATTACKS = f"{'attacks':>8}{'raised':>8}{'95 %':>14}{'lowered':>9}{'gain':>7}"
_HEAD = f"{'':41}{_ATTACKS} |{'reworded':>9}{'shifted':>8}{'drift':>7} |{'net':>7}"

# Calls in the traces for graphs that read in parts or through tools: 40,000 tokens.
_LONG = 40


class _Real:
    """A model of a provider, asked past any ledger."""

    def __init__(self, provider: LlmProvider, model: str) -> None:
        self._provider = provider
        self._model = model

    async def ask(self, question: Question) -> Completion:
        shape = JsonSchema(name=f"judge_{question.name}", schema=question.schema)
        return await self._provider.complete(
            CompletionRequest(
                model=self._model,
                messages=question.messages,
                max_output_tokens=question.max_output_tokens,
                temperature=0.0,
                json_schema=shape,
            )
        )


def _line(name: str, found: Effect) -> str:
    raised = found.raised
    around = f"{raised.lower:.1%}-{raised.upper:.1%}"
    attacks = f"{found.attacks:8}{raised.value:8.1%}{around:>14}{found.lowered:9.1%}"
    honest = f"{found.reworded:9}{found.shifted.value:8.1%}{found.drift.value:7.3f}"
    return f"{name:41}{attacks}{found.gain.value:7.3f} |{honest} |{found.net:+7.3f}"


def _reads_long_traces(graph: Graph) -> bool:
    steps = [node.step for node in graph.nodes if isinstance(node.step, RubricJudge)]
    return all(step.mode in ("map_reduce", "rlm") for step in steps)


async def _graphs(model: JudgeModel, attacks: Sequence[Attack], *, only: str) -> None:
    _say(_HEAD)
    families: dict[str, dict[str, float]] = {}
    for name, graph in shipped_graphs().items():
        if only in name:
            works = cases(filler=_LONG if _reads_long_traces(graph) else 0)
            found = await effect(of_graph(graph, model), works, attacks)
            families[name] = found.families
            _say(_line(name, found))
    names = list(next(iter(families.values())))
    _say("\nraised by family" + " " * 25 + "".join(f"{each:>12}" for each in names))
    for name, shares in families.items():
        _say(f"{name:41}" + "".join(f"{shares[each]:12.1%}" for each in names))


async def _hardening(attacks: Sequence[Attack]) -> None:
    _say(_HEAD)
    for label, judge in (
        ("simulated local judge", local_judge),
        ("obeys what is outside", obedient),
    ):
        for rendering in ("bare", "escaped", "shipped"):
            found = await effect(scorer(rendering, judge), cases(), attacks, every_case=True)
            _say(_line(f"{label}, {rendering}", found))


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--provider", default="", help="provider of a real judge")
    parser.add_argument("--model", default="", help="its model")
    parser.add_argument("--base-url", default="", help="for a server of your own")
    parser.add_argument("--graph", default="", help="only graphs with this in their id")
    parser.add_argument("--mutations", type=int, default=3, help="mutations of each attack")
    parser.add_argument("--seed", type=int, default=1, help="draws the mutations")
    parser.add_argument("--limit", type=int, default=0, help="most attacks; 0 takes all")
    given = parser.parse_args()
    written = corpus()
    attacks = [*written, *mutations(written, count=given.mutations, seed=given.seed)]
    attacks = attacks[: given.limit or len(attacks)]
    _say(f"{len(written)} texts, {len(attacks)} with mutations; seed {given.seed}\n")
    if given.provider:
        registry = ProviderRegistry(
            ServiceSettings.from_environment(os.environ, service="verifier")
        )
        provider = registry.get(given.provider, base_url=given.base_url)
        _say(f"judge: {given.model} of {given.provider}\n")
        asyncio.run(_graphs(_Real(provider, given.model), attacks, only=given.graph))
        return
    _say("judge: local-judge (simulated)\n")
    asyncio.run(_graphs(simulated(), attacks, only=given.graph))
    _say("\nwhat the hardening is worth, on one prompt\n")
    asyncio.run(_hardening(attacks))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
