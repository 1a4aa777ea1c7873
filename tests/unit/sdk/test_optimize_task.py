"""The one call's own part: rows become pools and an app, and the evaluator judges."""

import json

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from burnish.errors import InvalidArgument
from burnish.optimize_task import (
    OptimizeOptions,
    RowsUnusable,
    Task,
    build_app,
    job_document,
    parse_model,
    split_rows,
)
from burnish.task_app.chat import ChatClient
from burnish.task_app.model import Result, RolloutRequest


def rows(count: int, first: int = 0) -> list[dict[str, object]]:
    return [{"input": f"q{i}", "label": f"l{i % 3}"} for i in range(first, first + count)]


def task(**changes) -> Task:
    given = {
        "seed_prompt": "Answer.",
        "trainset": rows(100),
        "valset": None,
        "evaluator": None,
        "budget": 100,
        "model": "local/local-reader",
        "options": OptimizeOptions(),
        **changes,
    }
    return Task(**given)


@given(
    train=st.integers(20, 300),
    val=st.integers(0, 200),
    test=st.none() | st.integers(1, 50),
    budget=st.integers(30, 1000),
)
def test_no_row_is_in_two_pools_and_every_pool_that_is_needed_has_rows(train, val, test, budget):
    options = OptimizeOptions(testset=None if test is None else rows(test, 900))
    made = task(trainset=rows(train), valset=rows(val, 500) or None, options=options, budget=budget)
    everything, pools = split_rows(made)
    used = [*pools.bootstrap, *pools.online, *pools.validation, *pools.test, *pools.reference]
    assert len(used) == len(set(used))
    assert set(used) <= set(range(len(everything)))
    assert all((pools.bootstrap, pools.online, pools.validation, pools.test))
    assert len(pools.validation) <= max(10, budget // 8)
    if test is not None:
        assert [everything[seed]["input"] for seed in pools.test] == [
            f"q{i}" for i in range(900, 900 + test)
        ]


def test_the_same_seed_splits_the_same_way():
    assert split_rows(task()) == split_rows(task())
    other = task(options=OptimizeOptions(random_seed=1))
    assert split_rows(other)[1] != split_rows(task())[1]


def test_too_few_rows_are_refused_with_what_is_needed():
    with pytest.raises(RowsUnusable, match="give 20 or more"):
        split_rows(task(trainset=rows(12)))


def test_a_row_without_a_key_that_the_prompt_names_is_named():
    broken: list[dict[str, object]] = [*rows(3), {"label": "x"}]
    with pytest.raises(RowsUnusable, match="row 3 lacks `input`"):
        build_app(task(), broken)


def test_rows_without_answers_need_an_evaluator():
    bare = [{"input": "q"}]
    with pytest.raises(RowsUnusable, match="give `evaluator`"):
        build_app(task(), bare)
    assert build_app(task(evaluator=lambda row, answer: 1.0), bare).example is None


@pytest.fixture
async def model():
    """A model that answers with what it was told to, and keeps what it was asked."""
    asked: list[dict[str, object]] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(json.loads(await request.read()))
        message = {"role": "assistant", "content": " l1 "}
        return web.json_response({"choices": [{"index": 0, "message": message}]})

    application = web.Application()
    application.router.add_post("/v1/chat/completions", answer)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    calls = ChatClient()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1", asked, calls
    await calls.close()
    await runner.cleanup()


async def run(app, model, seed: int) -> Result:
    url, _, calls = model
    request = RolloutRequest(rollout_id="r", seed=seed, inference_url=url)
    found = await app.run(request, calls)
    assert isinstance(found, Result), found
    return found


async def test_without_an_evaluator_the_answer_is_compared_with_the_rows(model):
    app = build_app(task(), rows(3))
    assert (await run(app, model, 1)).reward == 1.0
    assert (await run(app, model, 2)).reward == 0.0


async def test_the_prompts_are_filled_from_the_row(model):
    made = task(
        seed_prompt="Answer in {tone}. {{json}}", options=OptimizeOptions(user_prompt="Q: {input}")
    )
    app = build_app(made, [{"input": "hello {x}", "tone": "French", "label": "l1"}])
    await run(app, model, 0)
    (body,) = model[1]
    assert [message["content"] for message in body["messages"]] == [
        "Answer in French. {json}",
        "Q: hello {x}",
    ]


async def test_plain_and_asynchronous_evaluators_judge_alike(model):
    async def judge(row, answer):
        return 0.25 if answer == "l1" else 0.0

    assert (await run(build_app(task(evaluator=judge), rows(1)), model, 0)).reward == 0.25
    plain = task(evaluator=lambda row, answer: answer == "l1")
    assert (await run(build_app(plain, rows(1)), model, 0)).reward == 1.0


async def test_an_evaluator_that_fails_leaves_the_rollout_unscored(model):
    def broken(row, answer):
        raise KeyError("mine")

    url, _, calls = model
    app = build_app(task(evaluator=broken), rows(1))
    found = await app.run(RolloutRequest(rollout_id="r", seed=0, inference_url=url), calls)
    assert not isinstance(found, Result)


def test_the_job_is_a_valid_configuration_with_what_was_asked():
    from burnish.config import PromptLearningConfig
    from burnish.config.resolve import resolve_job

    made = task(
        options=OptimizeOptions(
            max_cost_usd=1.5, settings={"num_iterations": 3}, proposer_model="openai/gpt-4o-mini"
        )
    )
    _, pools = split_rows(made)
    document = job_document(made, pools, app_url="http://127.0.0.1:9")
    job = resolve_job(PromptLearningConfig.from_mapping(document, env={}))
    assert job.mipro is not None
    assert job.mipro.num_iterations == 3
    assert job.budget.max_cost_usd == 1.5
    assert job.budget.max_rollouts == 100
    assert job.proposer.model is not None
    assert job.proposer.model.model == "gpt-4o-mini"


def test_a_model_needs_its_provider():
    assert parse_model("groq/openai/gpt-oss-20b") == ("groq", "openai/gpt-oss-20b")
    with pytest.raises(InvalidArgument, match="provider/model"):
        parse_model("gpt-4o")
