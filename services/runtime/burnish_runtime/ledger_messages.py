"""What the client of the call ledger says beside the requests of its callers."""

from __future__ import annotations

from collections.abc import Sequence

from burnish.api.ledger.v1 import call_ledger_service_pb2 as ledger_v1
from burnish.api.types.v1 import rollout_pb2


def introduction(client_id: str, *, sequence: int, most_bytes: int) -> ledger_v1.StreamCallsRequest:
    """Returns the first message of a stream.

    Args:
        client_id: Who opens it.
        sequence: Its sequence.
        most_bytes: Most bytes of a batch of answers.
    """
    opened = ledger_v1.OpenSession(client_id=client_id, max_batch_bytes=most_bytes)
    return ledger_v1.StreamCallsRequest(sequence=sequence, open=opened)


def message_of(requests: Sequence[ledger_v1.StreamCallsRequest]) -> ledger_v1.StreamCallsRequest:
    """Returns the message that carries requests; one goes as it is."""
    if len(requests) == 1:
        return requests[0]
    return ledger_v1.StreamCallsRequest(batch=ledger_v1.RequestBatch(requests=requests))


def handed_back(call_id: str) -> ledger_v1.FinishCall:
    """Returns the end of a call that nobody will make."""
    return ledger_v1.FinishCall(
        call_id=call_id,
        not_sent=True,
        failure=rollout_pb2.Failure(
            reason="CALLER_GONE", message="nobody waited for the decision", retryable=True
        ),
    )
