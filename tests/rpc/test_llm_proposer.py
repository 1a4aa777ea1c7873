"""Proposals written by every hosted provider, through its own package, with a fault on the way."""

import json
import re
from typing import Any

import pytest

from burnish.api.types import v1 as types_v1
from burnish.testing.providers import FakeReply, Heard, fake_provider
from burnish_runtime.settings import Secret
from tests.rpc.test_proposer_service import idea, instructions, world

KEY = "sk-canary-0123456789"
WRITERS = {
    "openai": ("gpt-4o", "/v1", "/v1/chat/completions"),
    "groq": ("openai/gpt-oss-120b", "/openai/v1", "/openai/v1/chat/completions"),
    "google": ("gemini-2.5-flash", "/v1beta", "/v1beta/models/gemini-2.5-flash:generateContent"),
    "anthropic": ("claude-some-9", "/v1", "/v1/messages"),
}


class Writer:
    """Answers as a writer does, after one failure."""

    def __init__(self) -> None:
        self.failed = False

    def __call__(self, heard: Heard) -> FakeReply | str:
        if not self.failed:
            self.failed = True
            return "500"
        variants = re.findall(r"<variant>(\d+)</variant>", heard.body.decode())
        text = json.dumps(idea(int(variants[-1])))
        return FakeReply(text=text, input_tokens=900, output_tokens=80, cached_input_tokens=128)


@pytest.mark.parametrize("api", ["AUTO", "RESPONSES"])
@pytest.mark.parametrize("provider", WRITERS)
async def test_a_hosted_provider_writes_proposals_and_its_bill_is_booked(provider, api):
    if api == "RESPONSES" and provider != "openai":
        pytest.skip("an API of OpenAI's alone")
    if provider == "anthropic":
        pytest.importorskip("anthropic")
    model, end, path = WRITERS[provider]
    async with fake_provider(answer=Writer()) as fake:
        settings: dict[str, Any] = {
            f"{provider}_api_key": Secret(KEY),
            "moved_base_urls": {provider: fake.root + end},
            "openai_api": api,
        }
        async with world(idea, **settings) as here:
            spec = types_v1.ModelSpec(provider=provider, model=model)
            responses = await here.propose(context=here.context(meta_model=spec))
            finished = here.ledger.finished
    assert sorted(instructions(responses)) == [0, 1, 2, 3]
    assert {heard.target for heard in fake.heard} == {"/v1/responses" if api != "AUTO" else path}
    assert all(KEY in str(heard.headers) for heard in fake.heard)
    answered = [end.usage for end in finished if end.HasField("usage")]
    assert len(fake.heard) == len(finished) == len(answered) + 1
    assert sum(one.input_tokens for one in answered) == fake.bill.answered.input_tokens
    assert sum(one.output_tokens for one in answered) == fake.bill.answered.output_tokens
    assert {one.cached_input_tokens for one in answered} == {128}
    (lost,) = [end for end in finished if end.HasField("failure")]
    assert not lost.not_sent
    usage = responses[-1].summary.usage
    assert (usage.call_count, usage.possibly_paid_call_count) == (len(finished), 1)
