"""What a job really uses lies between the ends of its estimate, for every role and figure."""

import pytest

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish.estimates import estimate_job
from examples.intents.app import INSTRUCTION
from tests.e2e.fused import FEW_WORDS, HALF, judged_by

pytestmark = pytest.mark.asyncio(loop_scope="session")
PRICE = types_v1.Price(input_usd_per_million=2.0, output_usd_per_million=8.0)


def priced(harness, intents_app, provider, **settings):
    pools = harness.Pools(
        range(16), range(60, 120), range(300, 320), range(420, 432), range(160, 200)
    )
    model = provider.model(price=PRICE, max_output_tokens=16)
    spec = harness.job_spec(intents_app.url, model, pools, **settings)
    spec.proposer.meta_model.CopyFrom(
        provider.model(harness.PROPOSER, price=PRICE, max_output_tokens=1200)
    )
    return spec


def judged(spec, provider):
    graph = judged_by(FEW_WORDS)
    model = provider.model("local-judge", price=PRICE, max_output_tokens=500)
    graph.nodes[0].rubric.model.CopyFrom(model)
    spec.scoring.verifier_graph.CopyFrom(graph)
    spec.scoring.weights.CopyFrom(HALF)
    return spec


def given(spec):
    patterns = [
        types_v1.MessagePattern(role="system", pattern=INSTRUCTION),
        types_v1.MessagePattern(role="user", pattern="{query}"),
    ]
    spec.stages.add(
        template=types_v1.PromptTemplate(stage_id="main", messages=patterns),
        optimise_instruction=True,
        optimise_demos=True,
    )
    return spec


@pytest.mark.parametrize("known", [False, True], ids=["learnt", "given"])
async def test_a_local_run_lies_within_its_estimate(known, harness, suite, intents_app, provider):
    spec = priced(harness, intents_app, provider, num_iterations=4)
    roles = ["task", "proposer"]
    if known:
        judged(given(spec), provider)
        roles.append("judge")
    found = estimate_job(spec)
    run = await harness.run_job(suite, spec)
    assert run.job.state == job_v1.JOB_STATE_SUCCEEDED, run.job.failure
    rollouts = dict(run.result.rollouts_by_phase)
    assert rollouts
    for phase, count in rollouts.items():
        span = found.rollouts[phase]
        assert span.low <= count <= span.high, (phase, count, span)
    for role in roles:
        used, wanted = run.result.usage_by_role[role], found.roles[role]
        assert wanted.cost_usd is not None
        assert used.call_count > 0
        for name, figure, ends in (
            ("calls", used.call_count, wanted.calls),
            ("read", used.input_tokens, wanted.input_tokens),
            ("written", used.output_tokens, wanted.output_tokens),
            ("dollars", used.cost_usd, wanted.cost_usd),
        ):
            assert ends.low <= figure <= ends.high, (role, name, figure, ends)
    assert found.cost_usd is not None
    spent = sum(used.cost_usd for used in run.result.usage_by_role.values())
    assert found.cost_usd.low <= spent <= found.cost_usd.high
