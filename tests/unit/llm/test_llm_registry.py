"""Which provider a model spec means."""

import sys
from typing import Any

import pytest

from burnish.errors import InvalidArgument, MissingExtra
from burnish.testing.providers import fake_provider
from burnish_runtime.llm.base import ChatMessage, CompletionRequest, ProviderAccess
from burnish_runtime.llm.registry import (
    ProviderInvalid,
    ProviderNotConfigured,
    ProviderRegistry,
)
from burnish_runtime.settings import Secret, ServiceSettings


class Plugin:
    name = "mine"

    def __init__(self, access: ProviderAccess) -> None:
        self.access = access
        self.closed = False

    async def close(self) -> None:
        self.closed = True


def registry(plugins: Any = None, **settings: Any) -> ProviderRegistry:
    return ProviderRegistry(ServiceSettings(service="proposer", **settings), plugins=plugins)


def test_hosted_providers_open_with_their_own_key():
    held = registry(
        openai_api_key=Secret("a"), groq_api_key=Secret("b"), google_api_key=Secret("c")
    )
    assert [held.get(name).name for name in ("openai", "groq", "google")] == [
        "openai",
        "groq",
        "google",
    ]


@pytest.mark.parametrize("provider", ["openai", "groq", "google", "anthropic"])
def test_a_missing_key_names_its_variable(provider):
    with pytest.raises(ProviderNotConfigured, match=f"BURNISH_{provider.upper()}_API_KEY"):
        registry().get(provider)


@pytest.mark.parametrize("provider", ["openai", "groq", "google", "anthropic"])
def test_a_key_never_goes_to_an_address_in_a_request(provider):
    held = registry(
        openai_api_key=Secret("a"),
        groq_api_key=Secret("b"),
        google_api_key=Secret("c"),
        anthropic_api_key=Secret("d"),
    )
    with pytest.raises(ProviderInvalid, match="openai_compatible"):
        held.get(provider, base_url="http://elsewhere.example/v1")


def test_compatible_servers_need_an_address():
    with pytest.raises(ProviderInvalid, match="base_url"):
        registry().get("openai_compatible")


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "http://127.0.0.1:1/v1"])
def test_local_models_are_where_the_settings_say(url):
    assert registry(local_model_url=url).get("local").name == "local"


def test_local_models_without_an_address_name_the_variable():
    with pytest.raises(ProviderNotConfigured, match="BURNISH_LOCAL_MODEL_URL"):
        registry().get("local")


def test_an_unknown_provider_lists_the_known():
    with pytest.raises(ProviderInvalid, match="google, groq, local, openai"):
        registry().get("nobody")


async def test_plug_ins_are_opened_once_per_address_and_closed():
    held = registry({"mine": Plugin})
    first = held.get("mine", base_url="http://a/v1")
    assert held.get("mine", base_url="http://a/v1") is first
    assert held.get("mine", base_url="http://b/v1") is not first
    await held.close()
    assert isinstance(first, Plugin)
    assert first.closed
    assert first.access.base_url == "http://a/v1"


def test_plug_ins_may_not_take_a_built_in_name():
    with pytest.raises(InvalidArgument, match="openai"):
        registry({"openai": Plugin})


def test_keys_show_in_no_repr():
    assert "sk-1" not in repr(ProviderAccess(api_key="sk-1"))


@pytest.mark.parametrize(
    ("provider", "end", "path"),
    [
        ("openai", "/v1", "/v1/chat/completions"),
        ("groq", "/openai/v1", "/openai/v1/chat/completions"),
        ("google", "/v1beta", "/v1beta/models/m:generateContent"),
        ("google", "/v1beta/openai", "/v1beta/models/m:generateContent"),
        ("anthropic", "/v1", "/v1/messages"),
    ],
)
async def test_a_moved_provider_is_called_where_the_interceptor_calls_it(provider, end, path):
    if provider == "anthropic":
        pytest.importorskip("anthropic")
    async with fake_provider() as fake:
        key = {f"{provider}_api_key": Secret("sk-own")}
        held = registry(moved_base_urls={provider: fake.root + end}, **key)
        asked = CompletionRequest(
            model="m", messages=(ChatMessage(role="user", content="hi"),), max_output_tokens=5
        )
        reply = await held.get(provider).complete(asked)
        await held.close()
    assert reply.text == "ok"
    assert [heard.target for heard in fake.heard] == [path]
    assert "sk-own" in str(fake.heard[0].headers)


def test_an_address_that_a_package_cannot_reach_is_refused_with_the_fix():
    held = registry(groq_api_key=Secret("b"), moved_base_urls={"groq": "http://h/v1"})
    with pytest.raises(ProviderNotConfigured, match=r"BURNISH_GROQ_BASE_URL.*`/openai/v1`"):
        held.get("groq")


async def test_the_responses_api_is_a_setting():
    async with fake_provider() as fake:
        held = registry(
            openai_api_key=Secret("a"),
            openai_api="RESPONSES",
            moved_base_urls={"openai": f"{fake.root}/v1"},
        )
        asked = CompletionRequest(
            model="m", messages=(ChatMessage(role="user", content="hi"),), max_output_tokens=5
        )
        await held.get("openai").complete(asked)
        await held.close()
    assert [heard.target for heard in fake.heard] == ["/v1/responses"]


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "anthropic", None)
    with pytest.raises(MissingExtra, match=r"burnish\[anthropic\]"):
        registry(anthropic_api_key=Secret("a")).get("anthropic")
