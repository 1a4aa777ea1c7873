"""The error tree survives the wire, and deadlines are passed on with a margin."""

import inspect
import itertools

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc import aio
from hypothesis import given
from hypothesis import strategies as st

from burnish import errors, rpc
from burnish.statuses import DETAILS_KEY, error_from_rpc, status_from_error

CLASSES = sorted(
    (
        kind
        for _, kind in inspect.getmembers(errors, inspect.isclass)
        if issubclass(kind, errors.BurnishError)
        and kind not in {errors.BurnishError, errors.MissingExtra}
    ),
    key=lambda kind: kind.__name__,
)
STATUS_CODES = {code.value[0]: code for code in grpc.StatusCode}
plain_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=200)


def over_the_wire(error: errors.BurnishError) -> errors.BurnishError:
    status = status_from_error(error, request_id="request-1")
    return error_from_rpc(
        aio.AioRpcError(
            STATUS_CODES[status.code],
            aio.Metadata(),
            aio.Metadata((DETAILS_KEY, status.SerializeToString())),
            details=status.message,
        )
    )


def test_every_status_code_but_ok_unknown_and_data_loss_has_a_class():
    covered = {int(kind.code) for kind in CLASSES}
    uncovered = {"OK", "CANCELLED", "UNKNOWN", "DATA_LOSS"}
    assert {
        code.name for number, code in STATUS_CODES.items() if number not in covered
    } == uncovered


@pytest.mark.parametrize("kind", CLASSES)
def test_every_class_comes_back_with_reason_and_metadata(kind):
    sent = kind("text with `value`", reason="SOME_REASON", metadata={"value": "é", "other": ""})
    got = over_the_wire(sent)
    assert type(got) is kind
    assert got.reason == "SOME_REASON"
    assert got.metadata == sent.metadata
    assert got.retryable == sent.retryable


@pytest.mark.parametrize("kind", [kind for kind in CLASSES if kind is not errors.Internal])
@given(
    message=plain_text.filter(bool), metadata=st.dictionaries(plain_text, plain_text, max_size=5)
)
def test_message_and_metadata_of_refusals_come_back_as_they_were(kind, message, metadata):
    got = over_the_wire(kind(message, metadata=metadata))
    assert (got.message, got.metadata) == (message, metadata)


def test_the_text_of_an_internal_error_does_not_travel():
    got = over_the_wire(errors.Internal("canary", metadata={"job": "jobs/a"}))
    assert "canary" not in got.message
    assert "request-1" in got.message
    assert got.metadata == {"job": "jobs/a"}


def test_an_error_of_a_room_comes_back_as_its_base_with_its_reason():
    got = over_the_wire(errors.MissingExtra(package="optuna", extra="search"))
    assert type(got) is errors.FailedPrecondition
    assert got.reason == "MISSING_EXTRA"
    assert got.metadata == {"package": "optuna", "extra": "search"}


def test_a_status_tells_its_request_id():
    status = status_from_error(errors.NotFound("no such job"), request_id="request-1")
    info = error_details_pb2.RequestInfo()
    assert [info.request_id for detail in status.details if detail.Unpack(info)] == ["request-1"]


def test_error_info_of_another_domain_is_not_taken_for_ours():
    status = status_pb2.Status(code=5, message="gone")
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="THEIRS", domain="example.test"))
    got = error_from_rpc(
        aio.AioRpcError(
            grpc.StatusCode.NOT_FOUND,
            aio.Metadata(),
            aio.Metadata((DETAILS_KEY, status.SerializeToString())),
            details="gone",
        )
    )
    assert (type(got), got.reason, got.metadata) == (errors.NotFound, "NOT_FOUND", {})


@given(details=st.binary(max_size=300))
def test_any_details_leave_code_and_message(details):
    got = error_from_rpc(
        aio.AioRpcError(
            grpc.StatusCode.NOT_FOUND,
            aio.Metadata(),
            aio.Metadata((DETAILS_KEY, details)),
            details="gone",
        )
    )
    assert type(got) is errors.NotFound
    assert got.message == "gone"


def test_a_stream_cut_while_sending_may_be_retried():
    got = error_from_rpc(
        aio.AioRpcError(
            grpc.StatusCode.INTERNAL, aio.Metadata(), aio.Metadata(), "Internal error from Core"
        )
    )
    assert got.retryable
    assert got.reason == "STREAM_CUT"


def test_translated_lets_other_exceptions_and_results_through():
    with rpc.translated():
        result = 1
    assert result == 1
    with pytest.raises(KeyError), rpc.translated():
        raise KeyError("a")


def test_translated_keeps_the_cause():
    failure = aio.AioRpcError(grpc.StatusCode.NOT_FOUND, aio.Metadata(), aio.Metadata(), "gone")
    with pytest.raises(errors.NotFound) as caught, rpc.translated():
        raise failure
    assert caught.value.__cause__ is failure


class Caller:
    """A caller with so many seconds left."""

    def __init__(self, left: float | None) -> None:
        self._left = left

    def time_remaining(self) -> float | None:
        return self._left


def test_the_time_for_a_call_is_the_shorter_one_less_a_margin():
    assert rpc.remaining(Caller(None), 10.0) == 10.0
    assert rpc.remaining(Caller(100.0), 10.0) == 10.0
    assert rpc.remaining(Caller(5.0), 10.0) == pytest.approx(4.95)


@pytest.mark.parametrize("left", [0.0, 0.01, 0.05])
def test_no_call_is_made_when_its_answer_would_come_too_late(left):
    with pytest.raises(errors.DeadlineExceeded):
        rpc.remaining(Caller(left), 10.0)


def test_a_shared_deadline_runs_out():
    times = itertools.count(100.0, 4.0)
    deadline = rpc.deadline(10.0, clock=lambda: next(times))
    assert deadline.left() == 6.0
    assert deadline.left() == 2.0
    with pytest.raises(errors.DeadlineExceeded):
        deadline.left()
