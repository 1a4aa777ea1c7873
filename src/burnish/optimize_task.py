"""Turns rows, a prompt and an evaluator into a task app and a job for it."""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from burnish.api.job.v1 import job_event_pb2
from burnish.errors import InvalidArgument
from burnish.prompts import names_in, render
from burnish.results import JobSnapshot
from burnish.task_app import Example, Result, Rollout, TaskApp

Row = Mapping[str, object]
Evaluator = Callable[[Row, str], float | Awaitable[float]]

_ANSWER_KEYS = ("answer", "label", "output", "expected", "target")
_MIN_ROWS = 10
_MIN_SPLIT_ROWS = 10
_VALIDATION_SHARE = 8


class RowsUnusable(InvalidArgument, ValueError):
    """Rows that no job can be made of."""

    default_reason = "ROWS_UNUSABLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class OptimizeOptions:
    """What `optimize` may be told beyond its six arguments.

    Attributes:
        testset: Rows held out for the closing test; None takes those rows of `valset` that the
            budget cannot evaluate again and again, at least half of them, or a quarter of
            `trainset` when there is no `valset` either.
        user_prompt: Pattern of the user message; its `{names}` are keys of a row.
        answer_key: Key of a row's right answer; None takes the first of `answer`, `label`,
            `output`, `expected` and `target` that the rows have.
        algorithm: Search algorithm.
        settings: Further keys of the `mipro` table, such as `num_iterations`.
        proposer_model: `provider/model` that writes instructions; None chooses by effort.
        base_url: Where a self-hosted `openai_compatible` model is served.
        temperature: Sampling temperature of the model.
        max_output_tokens: Most tokens of an answer.
        max_cost_usd: Most US dollars over every model.
        max_concurrent: Most rollouts in flight.
        random_seed: Seed of every random choice.
        state_dir: State directory of an embedded suite; None takes a temporary one.
        target: A controller to use in place of an embedded suite.
        token: Its bearer token.
        timeout: Most seconds for the job; None waits for ever.
        on_update: Called on every event, with where the job stands and the event.
    """

    testset: Sequence[Row] | None = None
    user_prompt: str = "{input}"
    answer_key: str | None = None
    algorithm: str = "mipro"
    settings: Mapping[str, object] | None = None
    proposer_model: str | None = None
    base_url: str | None = None
    temperature: float = 0.0
    max_output_tokens: int = 512
    max_cost_usd: float | None = None
    max_concurrent: int = 8
    random_seed: int = 0
    state_dir: Path | None = None
    target: str | None = None
    token: str | None = None
    timeout: float | None = None
    on_update: Callable[[JobSnapshot, job_event_pb2.JobEvent], None] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Everything that a job needs to know.

    Attributes:
        seed_prompt: The instruction to begin with.
        trainset: Rows to learn from.
        valset: Rows to choose by; None takes a fifth of `trainset`.
        evaluator: Reward in [0, 1] of an answer to a row; None compares with the row's answer.
        budget: Most rollouts of bootstrap and search.
        model: `provider/model` that answers.
        options: The rest.
    """

    seed_prompt: str
    trainset: Sequence[Row]
    valset: Sequence[Row] | None
    evaluator: Evaluator | None
    budget: int
    model: str
    options: OptimizeOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class Pools:
    """Which seeds are for what."""

    bootstrap: list[int]
    online: list[int]
    validation: list[int]
    test: list[int]
    reference: list[int]


def split_rows(task: Task) -> tuple[list[Row], Pools]:
    """Returns every row, and which seeds are for what; the test shares no row with the rest.

    Raises:
        RowsUnusable: There are too few.
    """
    rng = random.Random(task.options.random_seed)  # noqa: S311 # reproducible, not secret
    rows: list[Row] = list(task.trainset)
    train = list(range(len(rows)))
    rng.shuffle(train)
    validation = _add(rows, task.valset)
    rng.shuffle(validation)
    test = _add(rows, task.options.testset)
    # A full evaluation costs as many rollouts as there are validation rows.
    most = max(_MIN_SPLIT_ROWS, task.budget // _VALIDATION_SHARE)
    if task.options.testset is None:
        if len(validation) >= 2 * _MIN_SPLIT_ROWS:
            validation, test = _cut(validation, min(most, len(validation) // 2))
        else:
            test, train = _cut(train, len(train) // 4)
    if not validation:
        validation, train = _cut(train, max(1, len(train) // 5))
    validation = validation[:most]
    if len(train) < _MIN_ROWS or not test:
        raise RowsUnusable(
            f"{len(task.trainset)} training rows leave {len(train)} to learn from; give "
            f"{2 * _MIN_ROWS} or more, or a `valset` of {2 * _MIN_SPLIT_ROWS} rows",
            metadata={"rows": str(len(task.trainset))},
        )
    bootstrap, train = _cut(train, min(max(5, task.budget // 5), len(train) // 3))
    online, reference = _cut(train, min(max(10, task.budget // 2), max(10, len(train) // 2)))
    return rows, Pools(
        bootstrap=bootstrap,
        online=online,
        validation=sorted(validation),
        test=sorted(test),
        reference=reference,
    )


def build_app(task: Task, rows: Sequence[Row]) -> TaskApp:
    """Returns an app that asks the model about a row and lets the evaluator judge the answer.

    Raises:
        RowsUnusable: A row lacks a key that the prompt names, or the answers are needed and none
            of the usual keys holds them.
    """
    options = task.options
    names = dict.fromkeys([*names_in(task.seed_prompt), *names_in(options.user_prompt)])
    for index, row in enumerate(rows):
        missing = [name for name in names if name not in row]
        if missing:
            raise RowsUnusable(
                f"row {index} lacks `{missing[0]}`, which the prompt names; add the key, or set "
                "`user_prompt` to a pattern over the keys of your rows",
                metadata={"row": str(index), "key": missing[0]},
            )
    answer_key = options.answer_key or next(
        (key for key in _ANSWER_KEYS if all(key in row for row in rows)), None
    )
    if answer_key is None and task.evaluator is None:
        raise RowsUnusable(
            f"the rows have none of the keys {', '.join(_ANSWER_KEYS)}; give `evaluator`, or set "
            "`answer_key`"
        )
    app = TaskApp(
        id="optimize",
        rows=list(rows),
        example=None if answer_key is None else _example(names, answer_key),
    )

    @app.rollout
    async def run(rollout: Rollout) -> Result:
        values = {name: str(rollout.row[name]) for name in names}
        reply = await rollout.chat(
            [
                {"role": "system", "content": render(task.seed_prompt, values)},
                {"role": "user", "content": render(options.user_prompt, values)},
            ]
        )
        wanted = None if answer_key is None else rollout.row[answer_key]
        reward = await _judge(task.evaluator, rollout.row, reply.text, wanted)
        return Result(
            reward=reward,
            output=reply.text,
            reference=wanted if isinstance(wanted, str | int | float) else None,
        )

    return app


def job_document(task: Task, pools: Pools, *, app_url: str) -> dict[str, object]:
    """Returns the job as a configuration."""
    options = task.options
    provider, model = parse_model(task.model)
    termination: dict[str, object] = {"max_rollouts": task.budget}
    if options.max_cost_usd is not None:
        termination["max_cost_usd"] = options.max_cost_usd
    mipro: dict[str, object] = {
        "env_name": "optimize",
        "bootstrap_train_seeds": pools.bootstrap,
        "online_pool": pools.online,
        "val_seeds": pools.validation,
        "test_pool": pools.test,
        "reference_pool": pools.reference,
        "batch_size": min(10, len(pools.online)),
        "max_concurrent": options.max_concurrent,
        **(options.settings or {}),
    }
    if options.proposer_model is not None:
        meta_provider, meta_model = parse_model(options.proposer_model)
        mipro["proposer"] = {"provider": meta_provider, "model": meta_model}
    return {
        "prompt_learning": {
            "algorithm": options.algorithm,
            "task_app_url": app_url,
            "random_seed": options.random_seed,
            "initial_prompt": {
                "id": "optimize",
                "messages": [
                    {"role": "system", "pattern": task.seed_prompt},
                    {"role": "user", "pattern": options.user_prompt},
                ],
            },
            "policy": {
                "provider": provider,
                "model": model,
                "temperature": options.temperature,
                "max_completion_tokens": options.max_output_tokens,
            },
            "mipro": mipro,
            "termination_config": termination,
        }
    }


def parse_model(text: str) -> tuple[str, str]:
    """Splits `provider/model`.

    Raises:
        InvalidArgument: There is no provider.
    """
    provider, slash, model = text.partition("/")
    if not slash or not model:
        raise InvalidArgument(
            f"model `{text}` is not of the form provider/model; write it like openai/gpt-4o-mini "
            "or local/local-reader",
            reason="MODEL_INVALID",
            metadata={"model": text},
        )
    return provider, model


def _add(rows: list[Row], more: Sequence[Row] | None) -> list[int]:
    first = len(rows)
    rows.extend(more or ())
    return list(range(first, len(rows)))


def _cut(seeds: list[int], count: int) -> tuple[list[int], list[int]]:
    return seeds[:count], seeds[count:]


def _example(names: Mapping[str, None], answer_key: str) -> Callable[[Row], Example]:
    def example(row: Row) -> Example:
        return Example(inputs={name: str(row[name]) for name in names}, output=str(row[answer_key]))

    return example


async def _judge(evaluator: Evaluator | None, row: Row, answer: str, wanted: object) -> float:
    if evaluator is None:
        return float(answer.strip() == str(wanted).strip())
    if inspect.iscoroutinefunction(evaluator):
        return float(await evaluator(row, answer))
    judged = await asyncio.to_thread(evaluator, row, answer)
    return float(await judged if inspect.isawaitable(judged) else judged)
