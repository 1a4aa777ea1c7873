"""Which provider a model spec means."""

from typing import Any

import pytest

from burnish.errors import InvalidArgument
from burnish_runtime.llm.base import ProviderAccess
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


@pytest.mark.parametrize("provider", ["openai", "groq", "google"])
def test_a_missing_key_names_its_variable(provider):
    with pytest.raises(ProviderNotConfigured, match=f"BURNISH_{provider.upper()}_API_KEY"):
        registry().get(provider)


@pytest.mark.parametrize("provider", ["openai", "groq", "google"])
def test_a_key_never_goes_to_an_address_in_a_request(provider):
    held = registry(
        openai_api_key=Secret("a"), groq_api_key=Secret("b"), google_api_key=Secret("c")
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
