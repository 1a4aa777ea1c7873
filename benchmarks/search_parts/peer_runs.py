"""Runs released optimisers on a recorded evaluator: what `.venv-peers` executes for peers.py.

Reads one task per line and answers each with one line. DSPy's MIPROv2 and GEPA run as they were
published; given to them are the proposals, and a program whose reward for an example is looked up.
Instructions and demo sets are their numbers, written out. Each distinct pair of prompt and example
is charged once: a perfect cache, which neither of them has.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import random
import sys
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np


class Evaluator:
    """Rewards of a world, and what was looked up so far.

    Attributes:
        calls: Arms and examples in the order they were looked up.
        spent: Distinct pairs among them.
    """

    def __init__(self, path: str, shape: Sequence[int]) -> None:
        self.rewards = np.load(path)
        self.shape = tuple(shape)
        self.calls: list[tuple[int, int]] = []
        self.spent = 0
        self._seen: set[tuple[int, int]] = set()

    def reward(self, arm: int, example: int) -> float:
        """Looks a reward up."""
        self.calls.append((arm, example))
        if (arm, example) not in self._seen:
            self._seen.add((arm, example))
            self.spent += 1
        return float(self.rewards[arm, example])

    def arm(self, instruction: int, demo_set: int) -> int:
        """Returns the arm of an instruction and a demo set."""
        return instruction * self.shape[1] + demo_set


def miprov2(task: Mapping[str, Any]) -> dict[str, Any]:
    """Runs `dspy.MIPROv2` on given instructions and demo sets.

    Returns:
        `trials`, every evaluation with its arm, examples in order and score, and `log`, the
        incumbent after each.
    """
    import dspy  # type: ignore[import-not-found]
    from dspy.teleprompt import (  # type: ignore[import-not-found]
        mipro_optimizer_v2 as module,
    )

    world = Evaluator(task["path"], task["shape"])
    instructions, demo_sets = world.shape

    class Recorded(dspy.Module):  # type: ignore[misc] # it is not installed beside mypy
        """One predictor; its reward is looked up."""

        def __init__(self) -> None:
            super().__init__()
            self.predict = dspy.Predict(dspy.Signature("question -> answer", "0"))
            self.predict.demos = [dspy.Example(demo_set=0)]

        def forward(self, example: int) -> Any:  # noqa: ANN401 - a class of dspy
            predictor = self.predict
            demo_set = predictor.demos[0].demo_set if predictor.demos else 0
            arm = world.arm(int(predictor.signature.instructions), demo_set)
            return dspy.Prediction(reward=world.reward(arm, example))

    class Given(module.MIPROv2):  # type: ignore[misc] # it is not installed beside mypy
        """MIPROv2 whose first two steps are done."""

        def _bootstrap_fewshot_examples(self, *_: object, **__: object) -> Any:  # noqa: ANN401
            sets = [[dspy.Example(demo_set=place)] for place in range(demo_sets)]
            return {0: sets} if demo_sets > 1 else None

        def _propose_instructions(self, *_: object, **__: object) -> Any:  # noqa: ANN401
            return {0: [str(place) for place in range(instructions)]}

    trials: list[dict[str, Any]] = []
    log: list[tuple[int, int, float]] = []
    evaluated: Callable[..., Any] = module.eval_candidate_program

    def recorded(size: int, examples: Sequence[object], *rest: object) -> Any:  # noqa: ANN401
        start = len(world.calls)
        found = evaluated(size, examples, *rest)
        calls = world.calls[start:]
        full = size >= len(examples)
        trials.append(
            {
                "arm": calls[0][0],
                "examples": [example for _, example in calls],
                "full": full,
                "score": found.score,
            }
        )
        if full and (not log or found.score > 100.0 * log[-1][2]):
            log.append((world.spent, calls[0][0], found.score / 100.0))
        elif log:
            log.append((world.spent, *log[-1][1:]))
        return found

    module.eval_candidate_program = recorded
    try:
        auto = task.get("auto")
        given: dict[str, Any] = {"auto": auto}
        if auto is None:
            given |= {"num_candidates": max(world.shape)}
        if demo_sets == 1:
            given |= {"max_bootstrapped_demos": 0, "max_labeled_demos": 0}
        optimiser = Given(
            metric=lambda _, prediction, trace=None: prediction.reward,
            task_model=dspy.utils.DummyLM([]),
            prompt_model=dspy.utils.DummyLM([]),
            seed=task["seed"],
            num_threads=1,
            **given,
        )
        examples = [
            dspy.Example(example=place).with_inputs("example")
            for place in range(world.rewards.shape[1])
        ]
        # It raises when every combination that it tried was evaluated in full.
        with contextlib.suppress(ValueError):
            optimiser.compile(
                Recorded(),
                trainset=examples,
                valset=examples,
                **({} if auto else {"num_trials": task["num_trials"]}),
            )
    finally:
        module.eval_candidate_program = evaluated
    return {"trials": trials, "log": log}


def gepa(task: Mapping[str, Any]) -> dict[str, Any]:
    """Runs `gepa.optimize`; a proposal is another instruction, or another demo set, at random.

    Returns:
        `log`, the incumbent after each full validation.
    """
    import gepa as package  # type: ignore[import-not-found]
    from gepa.core.adapter import EvaluationBatch  # type: ignore[import-not-found]

    world = Evaluator(task["path"], task["shape"])
    counts = {
        name: count
        for name, count in zip(("instruction", "demo_set"), world.shape, strict=True)
        if count > 1
    }
    examples = list(range(world.rewards.shape[1]))
    randomness = random.Random(task["seed"])
    log: list[tuple[int, int, float]] = []
    proposed: set[tuple[str, ...]] = set()

    def arm(candidate: Mapping[str, str]) -> int:
        return world.arm(*(int(candidate.get(name, "0")) for name in ("instruction", "demo_set")))

    def evaluate(
        batch: Sequence[int], candidate: Mapping[str, str], capture_traces: bool = False
    ) -> Any:  # noqa: ANN401 - a class of gepa
        chosen = arm(candidate)
        scores = [world.reward(chosen, example) for example in batch]
        if len(batch) == len(examples):
            mean = float(np.mean(scores))
            best = log[-1][1:] if log and log[-1][2] >= mean else (chosen, mean)
            log.append((world.spent, *best))
        return EvaluationBatch(outputs=scores, scores=scores, trajectories=scores)

    def propose(
        candidate: Mapping[str, str], _: object, components: Sequence[str]
    ) -> dict[str, str]:
        for _ in range(200):
            texts = {name: str(randomness.randrange(counts[name])) for name in components}
            whole = tuple({**candidate, **texts}[name] for name in counts)
            if whole not in proposed:
                break
        proposed.add(whole)
        return texts

    package.optimize(
        seed_candidate=dict.fromkeys(counts, "0"),
        trainset=examples,
        valset=examples,
        adapter=SimpleNamespace(
            evaluate=evaluate,
            make_reflective_dataset=lambda _, __, names: {name: [{}] for name in names},
            propose_new_texts=propose,
        ),
        stop_callbacks=lambda state: (
            world.spent >= task["budget"] or len(world.calls) > 10 * task["budget"]
        ),
        logger=SimpleNamespace(log=lambda *_: None),
        seed=task["seed"],
    )
    return {"log": log}


def main() -> None:
    """Answers tasks until there are no more."""
    logging.disable(logging.CRITICAL)
    methods: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]]
    methods = {"miprov2": miprov2, "gepa": gepa}
    answers = sys.stdout
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        for line in sys.stdin:
            task = json.loads(line)
            print(json.dumps(methods[task["method"]](task)), file=answers, flush=True)


if __name__ == "__main__":
    main()
