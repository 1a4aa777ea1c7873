"""Settings come from the environment, all problems at once, and secrets never show."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish_runtime.settings import Secret, ServiceSettings, SettingsInvalid, host_and_port


def read(**environ: str) -> ServiceSettings:
    return ServiceSettings.from_environment(environ, service="search")


def test_an_empty_environment_gives_the_defaults():
    settings = read()
    assert settings.service == "search"
    assert settings.listen == settings.health_listen == "127.0.0.1:0"
    assert settings.metrics_listen == ""
    assert settings.auth_token is None
    assert settings.drain_seconds == 5.0
    assert settings.max_message_bytes == 16 * 2**20
    assert (settings.max_pending_calls, settings.max_concurrent_calls) == (100_000, 1_000)
    assert not settings.insecure
    assert settings.node_id


def test_every_variable_reaches_its_field():
    settings = read(
        BURNISH_LISTEN="0.0.0.0:50051",
        BURNISH_METRICS_LISTEN="[::1]:9000",
        BURNISH_CONTROLLER="dns:///controller:50051",
        BURNISH_INTERCEPTOR_URL="https://example.test/",
        BURNISH_LOCAL_MODEL_URL="http://127.0.0.1:8000/v1/",
        BURNISH_READY_FILE="ready.json",
        BURNISH_STATE_DIR="state",
        BURNISH_NODE_ID="search-0",
        BURNISH_DRAIN_SECONDS="0",
        BURNISH_LOG_LEVEL="debug",
        BURNISH_INSECURE="yes",
        BURNISH_MAX_CONCURRENT_CALLS="7",
    )
    assert settings.listen == "0.0.0.0:50051"
    assert settings.metrics_listen == "[::1]:9000"
    assert settings.controller_target == "dns:///controller:50051"
    assert settings.interceptor_url == "https://example.test"
    assert settings.local_model_url == "http://127.0.0.1:8000/v1"
    assert settings.ready_file == Path("ready.json")
    assert settings.state_dir == Path("state")
    assert settings.node_id == "search-0"
    assert settings.drain_seconds == 0.0
    assert settings.log_level == "DEBUG"
    assert settings.insecure
    assert settings.max_concurrent_calls == 7


def test_all_problems_are_reported_at_once():
    with pytest.raises(SettingsInvalid) as caught:
        read(
            BURNISH_LISTEN="50051",
            BURNISH_DRAIN_SECONDS="nan",
            BURNISH_MAX_MESSAGE_BYTES="0",
            BURNISH_MAX_PENDING_CALLS="many",
            BURNISH_LOG_LEVEL="LOUD",
            BURNISH_INSECURE="perhaps",
            BURNISH_AUTH_TOKEN_FILE="no/such/file",
        )
    assert set(caught.value.metadata) == {
        "BURNISH_LISTEN",
        "BURNISH_DRAIN_SECONDS",
        "BURNISH_MAX_MESSAGE_BYTES",
        "BURNISH_MAX_PENDING_CALLS",
        "BURNISH_LOG_LEVEL",
        "BURNISH_INSECURE",
        "BURNISH_AUTH_TOKEN_FILE",
    }
    assert all(problem in caught.value.message for problem in caught.value.metadata.values())


def test_a_secret_comes_by_value_or_by_file(tmp_path):
    file = tmp_path / "token"
    file.write_text("from-file\n", encoding="utf-8")
    assert read(BURNISH_AUTH_TOKEN="by-value").auth_token == "by-value"
    assert read(BURNISH_AUTH_TOKEN_FILE=str(file)).auth_token == "from-file"


def test_a_secret_given_twice_or_in_an_empty_file_is_refused(tmp_path):
    file = tmp_path / "token"
    file.write_text("\n", encoding="utf-8")
    with pytest.raises(SettingsInvalid, match="both set"):
        read(BURNISH_AUTH_TOKEN="by-value", BURNISH_AUTH_TOKEN_FILE=str(file))
    with pytest.raises(SettingsInvalid, match="empty"):
        read(BURNISH_AUTH_TOKEN_FILE=str(file))


def test_our_provider_key_wins_over_the_common_one():
    both = read(BURNISH_OPENAI_API_KEY="ours", OPENAI_API_KEY="common", GEMINI_API_KEY="gemini")
    assert both.openai_api_key == "ours"
    assert both.google_api_key == "gemini"
    assert read(GROQ_API_KEY="common").groq_api_key == "common"


def test_hosted_providers_are_moved_by_the_interceptor_s_variables():
    settings = read(BURNISH_GROQ_BASE_URL="http://h/openai/v1/", BURNISH_OPENAI_API="responses")
    assert settings.moved_base_urls == {"groq": "http://h/openai/v1"}
    assert settings.openai_api == "RESPONSES"
    with pytest.raises(SettingsInvalid, match="AUTO, CHAT, RESPONSES"):
        read(BURNISH_OPENAI_API="soap")


def test_no_secret_shows_in_a_repr_or_an_error():
    settings = read(
        BURNISH_AUTH_TOKEN="canary-1",
        BURNISH_TOKEN_KEY="canary-2",
        OPENAI_API_KEY="canary-3",
        BURNISH_GROQ_API_KEY="canary-4",
        BURNISH_GOOGLE_API_KEY="canary-5",
        BURNISH_OPENAI_COMPATIBLE_API_KEY="canary-6",
        BURNISH_ANTHROPIC_API_KEY="canary-7",
    )
    assert "canary" not in repr(settings)
    with pytest.raises(SettingsInvalid) as caught:
        read(BURNISH_AUTH_TOKEN="canary-1", BURNISH_LISTEN="x")
    assert "canary" not in caught.value.message + repr(caught.value.metadata)


def test_a_secret_is_the_text_it_hides():
    assert Secret("abc") == "abc"
    assert f"Bearer {Secret('abc')}" == "Bearer abc"
    assert repr([Secret("abc")]) == "[Secret('***')]"


@pytest.mark.parametrize(
    ("address", "parts"),
    [("127.0.0.1:0", ("127.0.0.1", 0)), ("[::1]:65535", ("::1", 65_535)), ("a.b:1", ("a.b", 1))],
)
def test_an_address_splits_into_host_and_port(address, parts):
    assert host_and_port(address) == parts


@pytest.mark.parametrize(
    "address", ["", ":", ":1", "a", "a:", "a:x", "a:-1", "a:65536", "::1:1", "a:\u0661"]
)
def test_what_is_no_address_is_refused(address):
    with pytest.raises(ValueError, match="`"):
        host_and_port(address)


@given(st.text())
def test_any_text_is_an_address_or_refused(text):
    try:
        host, port = host_and_port(text)
    except ValueError:
        return
    assert host
    assert 0 <= port <= 65_535
