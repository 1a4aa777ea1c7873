"""Log lines are JSON, carry their place, and lose whatever looks like a secret."""

import json
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish_runtime.settings import Secret
from burnish_runtime.telemetry import redact, redacting

KEYS = [
    "sk-proj-abcdefghijklmnop1234",
    "sk-ABCDEFGHIJKLMNOPQRSTUV",
    "gsk_abcdefghijklmnopqrstuvwx",
    "AIzaSyA1234567890abcdefghijklmnop",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abcdefgh",
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("around", ["{}", "key={} used", '{{"a": "{}"}}', "https://h/?k={}&b=1"])
def test_keys_are_blanked_wherever_they_stand(key, around):
    blanked = redact(around.format(key))
    assert key not in blanked
    assert "***" in blanked


def test_bearer_tokens_and_rollout_urls_are_blanked():
    token = "A" * 60
    assert redact("authorization: Bearer abc.def-123456") == "authorization: ***"
    assert redact(f"http://h:1/r/{token}/v1/chat") == "http://h:1/r/***/v1/chat"


@pytest.mark.parametrize(
    "text", ["jobs/a", "call_failed", "/burnish.api.job.v1.JobService/GetJob", "tokens used: 1200"]
)
def test_ordinary_text_stays(text):
    assert redact(text) == text


def test_fields_named_after_secrets_are_blanked_and_counts_of_tokens_are_not():
    event = redacting(
        None,
        "info",
        {
            "api_key": "short",
            "OPENAI_API_KEY": "short",
            "auth_token": "short",
            "headers": {"Authorization": "short", "accept": "json"},
            "values": [Secret("short"), "plain"],
            "input_tokens": 12,
            "count": 3,
            "missing": None,
        },
    )
    assert event == {
        "api_key": "***",
        "OPENAI_API_KEY": "***",
        "auth_token": "***",
        "headers": {"Authorization": "***", "accept": "json"},
        "values": ["***", "plain"],
        "input_tokens": 12,
        "count": 3,
        "missing": None,
    }


@given(
    prefix=st.text(max_size=20),
    key=st.from_regex(r"sk-[A-Za-z0-9]{20,60}", fullmatch=True),
    depth=st.integers(0, 3),
)
def test_a_key_is_found_at_any_depth(prefix, key, depth):
    value: object = f"{prefix} {key}"
    for _ in range(depth):
        value = {"inner": [value]}
    assert key not in repr(redacting(None, "info", {"value": value}))


def test_lines_of_ours_and_of_libraries_are_json_with_their_place():
    code = (
        "import logging, structlog\n"
        "from burnish import rpc\n"
        "from burnish_runtime.telemetry import configure_logging\n"
        "configure_logging(service='search', node_id='search-0', level='INFO')\n"
        "rpc.request_id.set('request-1')\n"
        "structlog.get_logger('x').info('began', study='studies/a')\n"
        "structlog.get_logger('x').debug('hidden')\n"
        "logging.getLogger('library').warning('key %s', 'sk-abcdefghijklmnopqrstuv')\n"
        "logging.getLogger('library').info('hidden')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    lines = [json.loads(line) for line in done.stderr.splitlines()]
    assert done.stdout == ""
    assert [(line["event"], line["level"]) for line in lines] == [
        ("began", "info"),
        ("key ***", "warning"),
    ]
    assert all(line["service"] == "search" and line["node"] == "search-0" for line in lines)
    assert lines[0]["request_id"] == "request-1"
    assert lines[0]["study"] == "studies/a"
