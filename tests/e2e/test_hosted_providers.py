"""Whole jobs on hosted models: policy and proposer of two providers, one bill, one ledger."""

import json
import random
import re

import pytest

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish.suite import Suite, SuiteOptions
from burnish.testing.providers import FakeReply, fake_provider

pytestmark = [pytest.mark.asyncio(loop_scope="session"), pytest.mark.slow]
POLICY = ("openai", "gpt-4o-mini", "/v1")
WRITERS = {
    "google": ("gemini-2.5-flash", "/v1beta"),
    "anthropic": ("claude-some-9", "/v1"),
}
FAULTS = ("429", "500", "503", "reset", "cut")
PRICE = types_v1.Price(input_usd_per_million=2.0, output_usd_per_million=8.0)
KEY = "sk-canary-0123456789"


class Models:
    """The policy names an intent, whichever; the writer writes; both fail now and then."""

    def __init__(self) -> None:
        self._rng = random.Random(3)
        self._written = 0

    def __call__(self, heard):
        if self._rng.random() < 0.1:
            return self._rng.choice(FAULTS)
        if heard.model == POLICY[1]:
            labels = re.findall(r"\\n\d+\. (\w+)", heard.body.decode())
            return FakeReply(text=self._rng.choice(labels), input_tokens=120, output_tokens=6)
        self._written += 1
        text = f"Number {self._written}: look at what the customer wants done, and name that."
        said = json.dumps({"instruction": text, "rationale": "because"})
        return FakeReply(
            text=said,
            input_tokens=900,
            output_tokens=90,
            cached_input_tokens=0,
            reasoning_tokens=40,
        )


@pytest.mark.parametrize("writer", WRITERS)
async def test_a_job_on_hosted_models_books_what_they_bill(writer, harness, intents_app, tmp_path):
    model, end = WRITERS[writer]
    if writer == "anthropic":
        pytest.importorskip("anthropic")
    async with fake_provider(answer=Models()) as fake:
        environment = {
            "BURNISH_OPENAI_API_KEY": KEY,
            "BURNISH_OPENAI_BASE_URL": fake.root + POLICY[2],
            f"BURNISH_{writer.upper()}_API_KEY": KEY,
            f"BURNISH_{writer.upper()}_BASE_URL": fake.root + end,
        }
        pools = harness.Pools(range(12), range(60, 90), range(300, 310), range(420, 426))
        policy = types_v1.ModelSpec(
            provider=POLICY[0], model=POLICY[1], price=PRICE, max_output_tokens=16
        )
        spec = harness.job_spec(intents_app.url, policy, pools, num_iterations=3)
        spec.proposer.meta_model.CopyFrom(
            types_v1.ModelSpec(provider=writer, model=model, price=PRICE)
        )
        async with Suite(tmp_path, options=SuiteOptions(environment=environment)) as suite:
            run = await harness.run_job(suite, spec)
            lost = harness.rows(suite, "SELECT SUM(lost_calls) AS n FROM calls")[0]["n"]
    assert run.job.state == job_v1.JOB_STATE_SUCCEEDED, run.job.failure
    booked = run.of_kind("budget_updated")[-1].by_role
    for role, name in (("task", POLICY[1]), ("proposer", model)):
        told = [one for one in fake.bill.answered.charges if one.model == name]
        assert told, f"{name} was never asked"
        assert booked[role].input_tokens == sum(one.input_tokens for one in told)
        assert booked[role].output_tokens == sum(one.output_tokens for one in told)
    assert booked["proposer"].reasoning_tokens == 40 * (booked["proposer"].input_tokens // 900)
    unanswered = len(fake.bill.charges) - len(fake.bill.answered.charges)
    assert lost == unanswered > 0
    written = [one for one in run.result.components if "Number " in str(one)]
    assert written, "nothing that the hosted model wrote became a component"
