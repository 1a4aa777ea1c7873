"""Three stages of 6 x 12 each, made up: 373,248 candidates, where only effects can be learnt."""

from __future__ import annotations

from benchmarks.search_parts import staged
from benchmarks.search_parts.bounds import Report, mean
from benchmarks.search_parts.chapters import Bench
from benchmarks.search_parts.engines import RACE, RANDOM, TPE
from benchmarks.search_parts.staged import Found, Task

BUDGETS = (400, 1000, 2000)
_WORLDS = 180
_LEAST = 3
_MOST_MILLISECONDS = 50.0
_MOST_OPTIMISM = 1.0


def measure(bench: Bench, report: Report) -> None:
    """Adds regret of the engines, and what the slowest decision of each race took."""
    worlds = max(round(bench.share * _WORLDS), _LEAST)
    name = f"{staged.STAGES} stages"
    tasks = (
        Task(seed=seed, engines=(RACE, TPE, RANDOM), budgets=BUDGETS)
        for seed in bench.pace.repetitions(name, worlds, least=_LEAST, part=1.0)
    )
    found = list(staged.run(tasks, processes=bench.processes))
    last = BUDGETS[-1]
    race = _of(found, RACE.name, last)
    report.tables[f"Regret in points, {name} of 6 x 12, {len(race)} worlds"] = _table(found)
    tpe = {one.world: one.regret for one in _of(found, TPE.name, last)}
    less = mean(one.regret - tpe[one.world] for one in race)
    report.add(f"{name}: race less tpe at {last}, upper limit", less.upper, 0.0, str(less))
    slowest = mean(one.milliseconds for one in race)
    note = f"most {max(one.milliseconds for one in race):.1f}"
    title = f"{name}: slowest decision of a race of {last}, in ms"
    report.add(title, slowest.mean, _MOST_MILLISECONDS, note)
    bias = mean(one.optimism for one in race if one.optimism is not None)
    title = f"{name}, race: reported less true, either way"
    report.add(title, abs(bias.mean), _MOST_OPTIMISM, str(bias))
    over = sum(one.spent > one.budget for one in found)
    report.add(f"{name}: searches that overspent", over, 0, f"of {len(found)}")


def _of(found: list[Found], method: str, budget: int) -> list[Found]:
    return [one for one in found if (one.method, one.budget) == (method, budget)]


def _table(found: list[Found]) -> str:
    lines = [["", *map(str, BUDGETS)], ["---"] * (len(BUDGETS) + 1)]
    for engine in (RACE, TPE, RANDOM):
        cells = [mean(o.regret for o in _of(found, engine.name, one)) for one in BUDGETS]
        lines.append([engine.name, *map(str, cells)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
