"""The asynchronous client: one channel to the controller, resources as namespaces."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import grpc

from burnish import rpc
from burnish.connection import BackendNotConfigured, Connection, find_connection
from burnish.graphs import AsyncGraphs
from burnish.jobs import AsyncJobs
from burnish.policies import AsyncPolicies
from burnish.rollouts import AsyncRollouts
from burnish.traces import AsyncTraces

DEFAULT_TIMEOUT_SECONDS = 30.0
_PATIENCE_SECONDS = 120.0
_GRPC_MAX_RETRIES = 4


class AsyncClient:
    """Talks to a controller.

    Example:
        async with AsyncClient() as client:
            job = await client.jobs.create("job.toml")
            await job.wait()
            print((await job.result()).best.prompt.text)

    Attributes:
        jobs: The controller's jobs.
        policies: Its online policies.
        traces: What the calls of rollouts said.
        rollouts: Finished rollouts of jobs, with the parts of their rewards.
        graphs: Verifier graphs, and scores of them.
    """

    def __init__(
        self,
        target: str | None = None,
        *,
        token: str | None = None,
        timeout: float = DEFAULT_TIMEOUT_SECONDS,
        max_retries: int = _GRPC_MAX_RETRIES,
        patience: float = _PATIENCE_SECONDS,
    ) -> None:
        """Prepares a client; the connection is made by the first call.

        Args:
            target: Target or URL of the controller; else BURNISH_TARGET or BACKEND_BASE_URL, else
                the suite that runs in this directory.
            token: Bearer token; else BURNISH_AUTH_TOKEN or SYNTH_API_KEY.
            timeout: Most seconds for one call.
            max_retries: How often a call that met UNAVAILABLE is made again, at most 4.
            patience: Most seconds that following a job waits for a controller that is away.

        Raises:
            BackendNotConfigured: Nothing says where the controller is.
        """
        found = find_connection(target, token)
        if found is None:
            raise BackendNotConfigured
        self.connection: Connection = found
        self._options = rpc.ChannelOptions(
            max_attempts=1 + max(0, min(max_retries, _GRPC_MAX_RETRIES))
        )
        self._channel: grpc.aio.Channel | None = None
        self.jobs = AsyncJobs(self.channel, timeout=timeout, patience=patience)
        self.policies = AsyncPolicies(self.channel, timeout=timeout)
        self.traces = AsyncTraces(self.channel, timeout=timeout)
        self.rollouts = AsyncRollouts(self.channel, timeout=timeout)
        self.graphs = AsyncGraphs(self.channel, timeout=timeout)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the channel; the client may be used again and then opens a new one."""
        channel, self._channel = self._channel, None
        if channel is not None:
            await channel.close()

    def channel(self) -> grpc.aio.Channel:
        """Returns the channel, opened at the first call."""
        if self._channel is None:
            self._channel = rpc.connect(
                self.connection.target, token=self.connection.token, options=self._options
            )
        return self._channel
