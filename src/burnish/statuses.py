"""The error tree on the wire: `BurnishError` to `google.rpc.Status` with an ErrorInfo, and back."""

from __future__ import annotations

from google.protobuf import any_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

from burnish.errors import DOMAIN, BurnishError, Code, Unavailable, error_from_code

DETAILS_KEY = "grpc-status-details-bin"
# What grpc.aio makes of a stream that the server ended, for whatever reason, too soon to read.
_CUT_WHILE_SENDING = "Internal error from Core"
_MAX_MESSAGE_CHARACTERS = 4_000
_MAX_VALUE_CHARACTERS = 1_000
_MAX_VALUES = 16
_OURS = frozenset({Code.INTERNAL, Code.UNKNOWN, Code.DATA_LOSS})


def is_our_fault(error: BurnishError) -> bool:
    """Whether the error is a bug of the server, whose text is for the log only."""
    return error.code in _OURS


def status_from_error(error: BurnishError, *, request_id: str) -> status_pb2.Status:
    """Returns the status that an error travels as.

    The text of an internal error is replaced, since it may quote anything; reason and metadata are
    chosen by the room that raised it and stay. Text that would not fit in the headers, where gRPC
    puts errors, is cut.

    Args:
        error: What went wrong.
        request_id: Id under which the log has more.
    """
    message = error.message
    if is_our_fault(error):
        message = f"internal error; the log has it under request id `{request_id}`"
    info = error_details_pb2.ErrorInfo(
        reason=error.reason,
        domain=DOMAIN,
        metadata={
            key: _shortened(value, _MAX_VALUE_CHARACTERS)
            for key, value in list(error.metadata.items())[:_MAX_VALUES]
        },
    )
    details = [any_pb2.Any(), any_pb2.Any()]
    details[0].Pack(info)
    details[1].Pack(error_details_pb2.RequestInfo(request_id=request_id))
    return status_pb2.Status(
        code=int(error.code),
        message=_shortened(message, _MAX_MESSAGE_CHARACTERS),
        details=details,
    )


def error_from_rpc(error: aio.AioRpcError) -> BurnishError:
    """Returns the error of our tree that a failed call stands for.

    Reason and metadata come from the ErrorInfo that Burnish's servers send; a status from elsewhere
    gets the default reason of its class. A stream that was cut while the client was sending is
    `Unavailable`: the real status is lost, and the next try will tell it.
    """
    code: int = error.code().value[0]
    message = error.details() or f"the call failed with status {error.code().name}"
    info = _error_info(error)
    if info is None and error.details() == _CUT_WHILE_SENDING:
        return Unavailable("the stream ended while a message was being sent", reason="STREAM_CUT")
    if info is None:
        reason = error_from_code(code, message, reason="").default_reason
        return error_from_code(code, message, reason=reason)
    return error_from_code(code, message, reason=info.reason, metadata=dict(info.metadata))


def _error_info(error: aio.AioRpcError) -> error_details_pb2.ErrorInfo | None:
    for key, value in error.trailing_metadata() or ():
        if key != DETAILS_KEY or not isinstance(value, bytes):
            continue
        try:
            status = status_pb2.Status.FromString(value)
            info = error_details_pb2.ErrorInfo()
            for detail in status.details:
                if detail.Unpack(info) and info.domain == DOMAIN:
                    return info
        except DecodeError:
            # Another server's idea of details; its code and message still say what happened.
            return None
    return None


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
