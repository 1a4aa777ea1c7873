"""The services that the controller calls, called patiently: a peer that restarts is waited for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from grpc import aio

from burnish import rpc
from burnish.api.proposer import v1 as proposer_v1
from burnish.api.search import v1 as search_v1
from burnish.api.verifier import v1 as verifier_v1
from burnish.errors import BurnishError
from burnish_controller.external import ExternalProposers
from burnish_controller.search_stream import SearchStream
from burnish_runtime.retries import RetryPolicy, retried
from burnish_runtime.settings import ServiceSettings

_Result = TypeVar("_Result")

PATIENCE = RetryPolicy(attempts=None, seconds=120.0, first_wait=0.1, longest_wait=2.0)
CALL_SECONDS = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Peers:
    """Stubs of the peers, and the channels behind them.

    Attributes:
        studies: Requests of studies, over a stream of their own.
    """

    search: search_v1.SearchServiceStub
    proposer: proposer_v1.ProposerServiceStub
    verifier: verifier_v1.VerifierServiceStub
    channels: tuple[aio.Channel, ...]
    external_proposers: Mapping[str, proposer_v1.ProposerServiceStub] = field(default_factory=dict)
    studies: SearchStream = field(init=False)

    def __post_init__(self) -> None:
        """Keeps one stream to search for all studies."""
        object.__setattr__(self, "studies", SearchStream(self.search))

    async def close(self) -> None:
        """Closes the channels."""
        await self.studies.close()
        for channel in self.channels:
            await channel.close()


def connect_peers(settings: ServiceSettings, external: ExternalProposers | None = None) -> Peers:
    """Opens a channel to each peer; the connections are made by the first calls.

    Args:
        settings: Where the peers of the suite are.
        external: Proposers besides, that the operator allows; None for none.
    """
    token = settings.auth_token
    search = rpc.connect(settings.search_target, token=token)
    proposer = rpc.connect(settings.proposer_target, token=token)
    verifier = rpc.connect(settings.verifier_target, token=token)
    others = external if external is not None else ExternalProposers()
    # The suite's own token opens every service of it, so it never leaves the suite.
    outside = {
        name: rpc.connect(target, token=others.token) for name, target in others.targets.items()
    }
    return Peers(
        search=search_v1.SearchServiceStub(search),
        proposer=proposer_v1.ProposerServiceStub(proposer),
        verifier=verifier_v1.VerifierServiceStub(verifier),
        channels=(search, proposer, verifier, *outside.values()),
        external_proposers={
            name: proposer_v1.ProposerServiceStub(channel) for name, channel in outside.items()
        },
    )


async def patiently(call: Callable[[], Awaitable[_Result]]) -> _Result:
    """Makes an idempotent call, again and again while its peer is away.

    Raises:
        BurnishError: What the peer answered, or Unavailable after two minutes.
    """

    async def attempt() -> _Result:
        with rpc.translated():
            return await call()

    return await retried(attempt, PATIENCE, on=_is_away)


def _is_away(error: Exception) -> bool:
    return isinstance(error, BurnishError) and error.retryable
