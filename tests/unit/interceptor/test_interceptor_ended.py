"""How a call ended, as the books are told it."""

import orjson
import pytest

from burnish_interceptor.ended import _refused, failed
from burnish_interceptor.transport.origin import ADDRESS_REFUSED, UpstreamFailure


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [(429, "rate_limit_exceeded", True), (429, "insufficient_quota", False), (400, "x", False)],
)
def test_a_refusal_is_tried_again_only_where_that_can_help(status, code, retryable):
    body = orjson.dumps({"error": {"code": code, "message": "no"}})
    ended = _refused(status, {}, body, events=False)
    assert ended.problem is not None
    assert ended.problem.retryable is retryable
    assert ended.not_sent


@pytest.mark.parametrize(
    ("reason", "status", "retryable"),
    [
        ("UPSTREAM_CLOSED", 502, True),
        ("UPSTREAM_TIMEOUT", 504, True),
        (ADDRESS_REFUSED, 424, False),
    ],
)
def test_a_call_that_failed_is_tried_again_unless_its_host_may_not_be_called(
    reason, status, retryable
):
    ended = failed(UpstreamFailure(reason, not_sent=True))
    assert ended.problem is not None
    assert ended.error is not None
    assert (ended.error.status, ended.problem.retryable) == (status, retryable)
