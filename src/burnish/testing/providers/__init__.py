"""Fake model providers over real sockets: scripted replies, faults on purpose, and a bill.

One server speaks chat completions (OpenAI, Groq, compatible servers), OpenAI's Responses API,
Google's `generateContent` and Anthropic's Messages API, whole or as events::

    async with fake_provider(FakeReply(text="blue"), "429 with a wait", "reset") as fake:
        client = openai.AsyncOpenAI(api_key="any", base_url=fake.base_url("openai"))
        ...
        assert fake.bill.input_tokens == ...
"""

from burnish.testing.providers.faults import FAULTS, Fault
from burnish.testing.providers.heard import Heard, Play
from burnish.testing.providers.replies import Bill, Charge, FakeReply, FakeToolCall
from burnish.testing.providers.server import FakeProvider, at_random, fake_provider

__all__ = [
    "FAULTS",
    "Bill",
    "Charge",
    "FakeProvider",
    "FakeReply",
    "FakeToolCall",
    "Fault",
    "Heard",
    "Play",
    "at_random",
    "fake_provider",
]
