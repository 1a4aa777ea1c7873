"""Hosts that jobs may name: all of them, or those that the operator lists."""

import pytest

from burnish_controller.task_apps.address import AppAddress, TaskAppUriInvalid
from burnish_interceptor.policies.policy import Model
from burnish_interceptor.providers import Account, Providers, ProviderUnusable
from burnish_runtime.egress import ALLOWED_HOSTS, AllowList
from burnish_runtime.llm.registry import ProviderInvalid, ProviderRegistry
from burnish_runtime.settings import ServiceSettings, SettingsInvalid

LIST = "apps.example, .models.example:8000, 127.0.0.1, 10.0.0.0/8:8101, [fd00::1]:80, fd01::/16"


@pytest.mark.parametrize(
    ("host", "port", "allowed"),
    [("apps.example", 1, True), ("APPS.example.", 1, True), ("x.apps.example", 1, False),
     ("a.models.example", 8000, True), ("a.models.example", 80, False),
     ("models.example", 8000, False), ("evilmodels.example", 8000, False),
     ("127.0.0.1", 5, True), ("127.0.0.2", 5, False), ("10.1.2.3", 8101, True),
     ("10.1.2.3", 80, False), ("fd00::1", 80, True), ("fd00::1", 81, False), ("fd01::9", 7, True),
     ("localhost", 5, False)],
)  # fmt: skip
def test_a_host_is_allowed_by_its_name_suffix_address_or_network(host, port, allowed):
    assert AllowList(LIST).allows(host, port) is allowed
    assert AllowList(" ").allows(host, port)


def test_every_entry_that_cannot_be_read_is_named_when_a_service_starts():
    wrong = {ALLOWED_HOSTS: "ok.example, http://x, 10.0.0.0/99, a:b, c:70000, [::1]x"}
    with pytest.raises(SettingsInvalid) as error:
        ServiceSettings.from_environment(wrong, service="controller")
    for entry in ("http://x", "10.0.0.0/99", "a:b", "c:70000", "[::1]x"):
        assert f"`{entry}`" in error.value.message
    assert "ok.example" not in error.value.message


def test_an_app_elsewhere_is_refused_and_the_list_is_named(monkeypatch):
    monkeypatch.setenv(ALLOWED_HOSTS, "127.0.0.1:8101")
    assert AppAddress.parse("http://127.0.0.1:8101").port == 8101
    for uri in ("http://127.0.0.1", "grpc://127.0.0.1:9", "https://apps.example"):
        with pytest.raises(TaskAppUriInvalid, match=ALLOWED_HOSTS):
            AppAddress.parse(uri)


def test_a_jobs_model_server_has_to_be_on_the_list_and_the_operators_own_does_not(monkeypatch):
    monkeypatch.setenv(ALLOWED_HOSTS, ".models.example")
    providers = Providers({"openai_compatible": Account(base_url="http://own.example/v1")})

    def model(base_url: str) -> Model:
        return Model(provider="openai_compatible", name="m", base_url=base_url)

    assert providers.target(model("")).origin.host == "own.example"
    assert providers.target(model("http://own.example/v1")).origin.host == "own.example"
    assert providers.target(model("http://a.models.example/v1")).origin.host == "a.models.example"
    with pytest.raises(ProviderUnusable, match=ALLOWED_HOSTS):
        providers.target(model("http://elsewhere.example/v1"))
    registry = ProviderRegistry(ServiceSettings.from_environment({}, service="proposer"))
    with pytest.raises(ProviderInvalid, match=ALLOWED_HOSTS):
        registry.get("openai_compatible", base_url="http://elsewhere.example/v1")
