"""Whether a cheaper model pays: the same regret for fewer evaluations by the dear one.

No recorded set of prompts was run on two models, but for a handful. So rows of both models on the
same examples are real, and how far the models agree on prompts is made up, from not at all to well:
arms get the cheaper model's rows in the order that gives the wanted correlation. Trials on any rows
let models agree on rows, which says nothing of prompts; on shared ones, anchors, they cannot.
Beside these stands what no model can beat: one that earns the same on every row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from benchmarks.search_parts import proxied
from benchmarks.search_parts.bounds import Mean, Report, mean
from benchmarks.search_parts.chapters import Bench
from benchmarks.search_parts.engines import TPE, Engine
from benchmarks.search_parts.matrices import Matrix
from benchmarks.search_parts.proxied import Found, Price, Task
from benchmarks.search_parts.worlds import Environment
from burnish_controller.proxies.run import Rules

BUDGETS = (400, 650, 1000, 1500, 2000)
_COMPARED = (1000, 2000)
_AGREEMENTS = (0.0, 0.5, 0.9)
_WORLDS = 120
_HARM = 0.5
_ANCHORED = replace(
    TPE,
    settings={**TPE.settings, "adaptive_pool": "LOW", "num_evaluations_per_iteration": 1},
)
_WAYS = {
    "any rows": (TPE, Rules()),
    "anchors": (_ANCHORED, Rules()),
    "anchors, verified every 5 trials": (_ANCHORED, Rules(verify_every=5)),
}
_HEAD = (
    "agreement",
    "way",
    "cells",
    "switched on",
    "by the dear model",
    "by the cheap one",
    "regret less without, same cells",
    "regret less without, same money",
    "net gain",
)


def measure(bench: Bench, report: Report) -> None:
    """Adds what a cheaper model saves and costs, by how far it agrees."""
    pairs = paired(bench.wide, bench.matrices)
    if not pairs:
        report.notes.append("cheaper models: no two matrices are on the same examples")
        return
    lines = [list(_HEAD), ["---"] * len(_HEAD)]
    verdicts = []
    dear = tuple(dict.fromkeys(one.name for one, _ in pairs))
    same = tuple(next(one for one, _ in pairs if one.name == name) for name in dear)
    environments = [("the same everywhere", bench.grid("ideal", matrices=same))]
    environments += [
        (
            f"{agreement:g}",
            bench.grid(
                f"agreement {agreement:g}",
                matrices=tuple(one for one, _ in pairs),
                cheap=tuple(other for _, other in pairs),
                agreement=agreement,
            ),
        )
        for agreement in _AGREEMENTS
    ]
    count = len(environments) * (2 + len(_WAYS))
    parts = (1.0 / left for left in range(count, 0, -1))
    for name, environment in environments:
        plain = {
            engine.settings.get("adaptive_pool"): _by_world(
                _run(bench, environment, engine, None, part=next(parts))
            )
            for engine in (TPE, _ANCHORED)
        }
        for way, (engine, rules) in _WAYS.items():
            without = plain[engine.settings.get("adaptive_pool")]
            found = _by_world(_run(bench, environment, engine, rules, part=next(parts)))
            for budget in _COMPARED:
                line, money = _line((name, way, budget), found, without)
                lines.append(line)
                title = f"cheaper model, agreement {name}, {way}, {budget} cells"
                if way != "any rows":
                    report.add(f"{title}: for the same money", money.mean, _HARM, str(money))
                verdict = "pays" if money.upper < 0 else "costs" if money.lower > 0 else "neither"
                verdicts.append(f"- {title}: {verdict} ({money} points of regret)")
    title = f"A cheaper model at a tenth of the price, tpe, grid 6 x 12, {len(pairs)} pairs"
    report.tables[title] = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    report.tables["Whether it pays: regret less that without for the same money"] = "\n".join(
        verdicts
    )


def paired(dear: Sequence[Matrix], every: Sequence[Matrix]) -> list[tuple[Matrix, Matrix]]:
    """Returns matrices with others on the same examples in the same order."""
    return [
        (one, other)
        for one in dear
        for other in every
        if other is not one and one.examples and one.examples == other.examples
    ]


def _run(
    bench: Bench, environment: Environment, engine: Engine, rules: Rules | None, *, part: float
) -> list[Found]:
    tasks = (
        Task(
            environment=environment,
            place=place,
            repetition=repetition,
            engine=engine,
            budgets=BUDGETS if rules is None else _COMPARED,
            rules=rules,
        )
        for repetition in bench.repetitions(environment, _WORLDS, part=part)
        for place in range(len(environment.matrices))
    )
    return list(proxied.run(tasks, processes=bench.processes))


_Worlds = dict[str, dict[int, Found]]


def _by_world(found: Sequence[Found]) -> _Worlds:
    worlds: _Worlds = defaultdict(dict)
    places: dict[tuple[str, int], int] = defaultdict(int)
    for one in found:
        # The same dear matrix comes once with each cheaper one.
        number = places[one.world, one.budget]
        places[one.world, one.budget] += 1
        worlds[f"{one.world}#{number}"][one.budget] = one
    return worlds


def _line(what: tuple[str, str, int], found: _Worlds, plain: _Worlds) -> tuple[list[str], Mean]:
    agreement, way, budget = what
    own = [worlds[budget] for worlds in found.values()]
    money = mean(own_regret(found, plain, budget, money=True))
    line = [
        agreement,
        way,
        str(budget),
        f"{np.mean([one.on for one in own]):.0%}",
        f"{np.mean([one.high for one in own]):.0f}",
        f"{np.mean([one.low for one in own]):.0f}",
        str(mean(own_regret(found, plain, budget, money=False))),
        str(money),
        str(mean(one.net_gain for one in own)),
    ]
    return line, money


def own_regret(found: _Worlds, plain: _Worlds, budget: int, *, money: bool) -> list[float]:
    """Returns, world by world, the regret less that without a cheaper model.

    Args:
        found: With one.
        plain: Without, at several budgets.
        budget: Cells of the search.
        money: Whether the one without spends the same money, between two of its budgets, rather
            than looks at the same cells.
    """
    differences = []
    for world in found.keys() & plain.keys():
        one, other = found[world][budget], plain[world]
        at = one.cost(Price()) if money else float(other[budget].high)
        known = sorted(other.values(), key=lambda each: each.high)
        regret = np.interp(at, [each.high for each in known], [each.regret for each in known])
        differences.append(one.regret - float(regret))
    return differences
