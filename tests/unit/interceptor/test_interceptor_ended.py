"""How a call ended, as the books are told it."""

import orjson
import pytest

from burnish_interceptor.ended import _refused


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
