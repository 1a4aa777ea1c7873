"""The URL grammar, and where calls go."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish_interceptor import routes
from burnish_interceptor.dialects.chat import ChatRequest
from burnish_interceptor.policies.policy import Model
from burnish_interceptor.providers import Account, Providers, ProviderUnusable
from burnish_interceptor.routes import Tail
from burnish_runtime.settings import Secret, ServiceSettings, SettingsInvalid


def parsed(target: str) -> Any:
    return routes.parse(target)


@pytest.mark.parametrize("base", ["/r/T", "/api/interceptor/v1/T"])
@pytest.mark.parametrize(
    "tail",
    ["", "/", "/v1", "/v1/", "/chat", "/chat/completions", "/v1/chat/completions",
     "/openai/v1/chat/completions", "?cid=x", "?cid=x/chat/completions",
     "?cid=x/v1/chat/completions", "/v1/chat/completions?a=b", "/v1/chat/completions?cid=x"],
)  # fmt: skip
def test_every_tail_of_a_rollout_url_is_a_chat_call(base, tail):
    route = parsed(base + tail)
    assert (route.segment, route.token_only, route.tail) == ("T", True, Tail.CHAT)
    assert route.rollout == ("x" if "cid=x" in tail else "")


@pytest.mark.parametrize(
    ("target", "segment", "rollout"),
    [
        ("/p/P/v1/chat/completions", "P", ""),
        ("/p/P/roll-1/v1/chat/completions", "P", "roll-1"),
        ("/api/mipro/v1/S/R", "S", "R"),
        ("/api/mipro/v1/S/R/chat/completions", "S", "R"),
        ("/api/gepa/v1/S/chat/completions", "S", ""),
        ("/api/gepa/v1/S/C/v1/chat/completions", "S", "C"),
        ("/p/P/v1/chat/completions?cid=roll-2", "P", "roll-2"),
        ("/p/a%20b/v1", "a b", ""),
    ],
)
def test_online_urls_name_a_policy_and_perhaps_a_rollout(target, segment, rollout):
    route = parsed(target)
    assert (route.segment, route.rollout, route.tail) == (segment, rollout, Tail.CHAT)
    assert not route.token_only


@pytest.mark.parametrize(
    ("target", "model"),
    [("/r/T/v1/models", ""), ("/r/T/models", ""), ("/r/T/v1/models/gpt-x", "gpt-x"),
     ("/r/T/v1/models/openai/gpt-oss-120b", "openai/gpt-oss-120b"), ("/r/T?cid=x/models", "")],
)  # fmt: skip
def test_models_and_ids_with_slashes(target, model):
    route = parsed(target)
    assert (route.tail, route.model) == (Tail.MODELS, model)


@pytest.mark.parametrize(
    "base", ["/r/T", "/p/P", "/p/P/roll", "/api/mipro/v1/S/R", "/api/gepa/v1/S"]
)
@pytest.mark.parametrize("version", ["", "/v1", "/openai/v1", "/v1/v1", "/v1/openai/v1"])
@pytest.mark.parametrize("tail", [Tail.RESPONSES, Tail.COMPLETIONS, Tail.EMBEDDINGS])
def test_every_api_is_found_below_every_base(base, version, tail):
    route = parsed(f"{base}{version}/{tail.value}")
    assert route.tail is tail
    assert route.rollout == {"/p/P/roll": "roll", "/api/mipro/v1/S/R": "R"}.get(base, "")


@pytest.mark.parametrize(
    ("query", "tail", "rollout"),
    [("cid=x/v1/responses", Tail.RESPONSES, "x"), ("cid=x&a=b/embeddings", Tail.EMBEDDINGS, "x"),
     ("a=b/chat/completions&cid=x", Tail.CHAT, "x"), ("cid=a%2Fb", Tail.CHAT, "a/b"),
     ("cid=x?y", Tail.CHAT, "x"), ("correlation_id=x/models/m", Tail.MODELS, "x")],
)  # fmt: skip
def test_a_tail_glued_to_the_query_is_found(query, tail, rollout):
    route = parsed(f"/r/T?{query}")
    assert (route.tail, route.rollout) == (tail, rollout)


@pytest.mark.parametrize(
    "target", ["/r/T/v1/responses/resp_1", "/r/T/v1/audio/speech", "/r/T/x/y", "/r/T/other",
               "/r/T/v1/chat/completions/x", "/r/T/v1/embeddings/x", "/p/P/roll/v1/files"]
)  # fmt: skip
def test_other_paths_are_not_calls(target):
    assert parsed(target).tail is Tail.OTHER


@given(st.text(max_size=40))
def test_any_target_is_parsed_or_unknown_and_its_token_stays_out_of_logs(target):
    routes.parse(target)
    assert "SECRET" not in routes.redacted(f"/r/SECRET{target}")


def model(provider, **more) -> Any:
    return Model(provider=provider, name="m", **more)


PROVIDERS = Providers(
    {
        "openai": Account(base_url="https://api.openai.com/v1", key=Secret("sk-o")),
        "groq": Account(base_url="https://api.groq.com/openai/v1"),
        "openai_compatible": Account(base_url="https://llm.corp:8443/v1", key=Secret("sk-c")),
        "local": Account(base_url="http://127.0.0.1:9/v1"),
    }
)


def test_a_jobs_base_url_never_moves_a_hosted_providers_key():
    target = PROVIDERS.target(model("openai", base_url="http://evil.example/v1"))
    assert (target.origin.host, target.origin.tls) == ("api.openai.com", True)


def test_the_key_of_compatible_servers_goes_to_the_operators_address_alone():
    own = PROVIDERS.target(model("openai_compatible", base_url="https://llm.corp:8443/v1/"))
    foreign = PROVIDERS.target(model("openai_compatible", base_url="https://llm.corp/v1"))
    assert own.headers["authorization"] == "Bearer sk-c"
    assert "authorization" not in foreign.headers
    assert own.path == "/v1/chat/completions"


def test_local_models_need_no_key_and_keys_stay_out_of_reprs():
    assert "authorization" not in PROVIDERS.target(model("local")).headers
    assert "sk-" not in repr(PROVIDERS.target(model("openai")))


@pytest.mark.parametrize(
    "spec",
    [model("groq"), model("unknown"), model("local", base_url="ftp://x/v1"),
     model("local", base_url="http://u:p@x/v1"), model("local", base_url="http://x:99999/v1"),
     model("local", base_url="http://169.254.169.254/v1"),
     model("local", base_url="http://x/v1\r\nHost: y")],
)  # fmt: skip
def test_a_provider_without_key_or_a_wrong_address_is_refused(spec):
    with pytest.raises(ProviderUnusable, match=spec.provider):
        PROVIDERS.target(spec)


def test_accounts_come_from_settings_and_the_operator_may_move_them():
    settings = ServiceSettings(
        service="interceptor",
        openai_api_key=Secret("sk-o"),
        local_model_url="http://127.0.0.1:7",
    )
    environ = {"BURNISH_OPENAI_BASE_URL": "http://proxy:8080/openai/v1/"}
    providers = Providers.from_settings(settings, environ)
    target = providers.target(model("openai"))
    assert (target.origin.host, target.origin.port) == ("proxy", 8080)
    assert target.path == "/openai/v1/chat/completions"
    assert providers.target(model("local")).path == "/v1/chat/completions"


@pytest.mark.parametrize("path", ["/responses", "/completions", "/embeddings"])
def test_every_api_of_a_provider_stands_below_its_base(path):
    assert PROVIDERS.target(model("openai"), path).path == f"/v1{path}"


def test_a_provider_that_cannot_tell_the_usage_of_streams_is_not_asked():
    settings = ServiceSettings(service="interceptor")
    environ = {"BURNISH_OPENAI_COMPATIBLE_STREAM_USAGE": "off"}
    providers = Providers.from_settings(settings, environ)
    assert not providers.asks_usage(model("openai_compatible"))
    assert providers.asks_usage(model("openai"))
    with pytest.raises(SettingsInvalid, match="BURNISH_GROQ_STREAM_USAGE"):
        Providers.from_settings(settings, {"BURNISH_GROQ_STREAM_USAGE": "perhaps"})


def test_googles_own_api_is_spoken_where_the_operator_says_so_and_to_its_host_alone():
    settings = ServiceSettings(service="interceptor", google_api_key=Secret("key-g"))
    native = Providers.from_settings(settings, {"BURNISH_GOOGLE_API": "native"})
    chat = ChatRequest(b'{"messages":[{"role":"user","content":"hi"}]}')
    google, openai = model("google"), model("openai")
    assert Providers.from_settings(settings, {}).spoken(chat, google) is chat
    assert native.spoken(chat, openai) is chat
    target = native.target(google, native.spoken(chat, google).path)
    assert target.origin.host == "generativelanguage.googleapis.com"
    assert target.path == "/v1beta/models/m:generateContent"
    assert target.headers["x-goog-api-key"] == "key-g"
    compatible = native.target(google, "/embeddings")
    assert compatible.path == "/v1beta/openai/embeddings"
    assert compatible.headers["authorization"] == "Bearer key-g"
