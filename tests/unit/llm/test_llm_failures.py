"""What providers' failures mean."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from burnish.errors import Code
from burnish_runtime.llm.failures import retry_after_seconds, status_error

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "250", "retry-after": "3"}, 0.25),
        ({"retry-after": "Fri, 02 Jan 2026 03:04:35 GMT"}, 30.0),
        ({"retry-after": "Fri, 02 Jan 2026 03:04:00 GMT"}, 0.0),
        ({"retry-after": "999999"}, 600.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
    ],
)
def test_the_wait_that_a_provider_asks_for_is_read(headers, seconds):
    assert retry_after_seconds(headers, now=NOW) == seconds


_DATE = r"\w{3}, \d{1,3} \w{3} \d{1,5} \d{1,2}:\d{1,3}:\d{1,2} (GMT|[+-]\d{1,8})"
# Of all of Unicode, it takes seconds to draw from. A loaded machine is slow to draw at all.
_DATES = st.from_regex(re.compile(_DATE, re.ASCII))


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.text() | _DATES)
def test_any_retry_after_gives_a_bounded_wait_or_none(value):
    seconds = retry_after_seconds({"retry-after": value}, now=NOW)
    assert seconds is None or 0.0 <= seconds <= 600.0


@given(status=st.integers(300, 599), code=st.text())
def test_only_what_may_be_retried_is_unavailable(status, code):
    error = status_error("p", status, code=code)
    assert error.can_retry is (error.code is Code.UNAVAILABLE)
    assert error.retryable is error.can_retry
    assert not (error.not_sent and status >= 500 and status not in (503, 529))


def test_a_provider_s_code_is_told_only_when_it_is_one():
    assert "model_not_found" in status_error("p", 404, code="model_not_found").message
    error = status_error("p", 400, code="your prompt `my secret` is bad")
    assert "secret" not in error.message
    assert "provider_code" not in error.metadata


def test_json_that_the_provider_itself_refused_is_tried_again_as_paid():
    error = status_error("groq", 400, code="json_validate_failed")
    assert error.can_retry
    assert not error.not_sent
