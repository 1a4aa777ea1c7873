"""Starts the whole suite, keeps it running, and stops it in order."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from burnish.errors import DeadlineExceeded
from burnish.suite import plan
from burnish.suite.listening import host_and_port, require_free
from burnish.suite.process import ServiceKeepsDying, ServiceProcess
from burnish.suite.state import RunningSuite, StateDir

__all__ = ["ServiceKeepsDying", "Suite", "SuiteOptions", "SuiteStartTimeout"]

DEFAULT_STATE_DIR = ".burnish"


class SuiteStartTimeout(DeadlineExceeded):
    """Not every service served in time."""

    default_reason = "SUITE_START_TIMEOUT"


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteOptions:
    """How a suite is started.

    Attributes:
        start_seconds: Longest time until every service serves.
        metrics: Whether each service serves Prometheus metrics.
        listen: Address of the controller; chosen when empty.
        http_listen: Address of the interceptor's data plane; chosen when empty.
        interceptor_url: Base URL that task apps reach the data plane by; from `http_listen` when
            empty.
        environment: Added to the environment of every process.
    """

    start_seconds: float = 60.0
    metrics: bool = False
    listen: str = ""
    http_listen: str = ""
    interceptor_url: str = ""
    environment: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        """Checks the form of the addresses.

        Raises:
            AddressInvalid: One is not host:port.
        """
        for flag, address in self.chosen_addresses().items():
            host_and_port(address, flag=flag)

    def chosen_addresses(self) -> Mapping[str, str]:
        """Returns the addresses that the operator chose, by the flag of `burnish up`."""
        given = {"--listen": self.listen, "--http-listen": self.http_listen}
        return {flag: address for flag, address in given.items() if address}


PlanSpecs = Callable[[StateDir, plan.Addresses], Sequence[plan.ServiceSpec]]


class Suite:
    """The whole suite as one asynchronous context manager.

    Leaving the context stops every process: the controller first, so that no new work begins, and
    the local models last. A process that dies in between is started again on the same ports.
    """

    def __init__(
        self,
        state_dir: str | Path | None = None,
        *,
        options: SuiteOptions | None = None,
        specs: PlanSpecs | None = None,
    ) -> None:
        """Prepares a suite.

        Args:
            state_dir: Where everything is kept; `BURNISH_STATE_DIR`, else `./.burnish`.
            options: How it is started.
            specs: Replaces the installed services by others, for tests.
        """
        chosen = state_dir or os.environ.get("BURNISH_STATE_DIR") or DEFAULT_STATE_DIR
        self.state = StateDir(Path(chosen).expanduser())
        self._options = options or SuiteOptions()
        self._specs = specs
        self._processes: dict[str, ServiceProcess] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self._where: RunningSuite | None = None

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self.state.lock)
        try:
            await asyncio.to_thread(self.state.stop_leftovers)
            await self._start()
        except BaseException:
            await self._stop()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stop()

    @property
    def where(self) -> RunningSuite:
        """Where the suite can be reached."""
        if self._where is None:
            raise RuntimeError("the suite is not started; use `async with Suite(...) as suite`")
        return self._where

    @property
    def target(self) -> str:
        """Target of the controller, for a gRPC channel."""
        return self.where.target

    @property
    def token(self) -> str:
        """Bearer token of every RPC."""
        return self.where.token

    @property
    def interceptor_url(self) -> str:
        """Base URL of the interceptor's data plane."""
        return self.where.interceptor_url

    @property
    def local_model_url(self) -> str:
        """Base URL of the local models, ending in `/v1`."""
        return self.where.local_model_url

    @property
    def api_url(self) -> str:
        """Base URL of the scoring endpoints over HTTP."""
        return self.where.api_url

    @property
    def processes(self) -> Mapping[str, ServiceProcess]:
        """The processes by service name."""
        return self._processes

    async def wait(self) -> None:
        """Waits until the suite can no longer run.

        Raises:
            ServiceKeepsDying: A service died too often.
        """
        # Not `gather`: a waiter that is cancelled must not end the supervision.
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            task.result()

    async def _start(self) -> None:
        specs = self._planned()
        for spec in specs:
            self._processes[spec.name] = ServiceProcess(spec, changed=self._publish)
        for process in self._processes.values():
            self._tasks.append(asyncio.create_task(process.run(), name=f"supervise-{process.name}"))
        ready = asyncio.create_task(self._all_ready())
        try:
            await asyncio.wait(
                [ready, *self._tasks],
                timeout=self._options.start_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in self._tasks:
                if task.done():
                    task.result()
            if not ready.done():
                raise self._too_slow()
        finally:
            ready.cancel()
            await asyncio.gather(ready, return_exceptions=True)

    async def _all_ready(self) -> None:
        await asyncio.gather(*(process.wait_ready() for process in self._processes.values()))

    def _planned(self) -> Sequence[plan.ServiceSpec]:
        # Told at once by us, and not after many starts by the service that would listen there.
        for flag, address in self._options.chosen_addresses().items():
            require_free(address, flag=flag)
        modules = {} if self._specs is not None else plan.installed_services()
        fixed = {
            key: value
            for key, value in (
                ("listen", self._options.listen),
                ("http_listen", self._options.http_listen),
                ("interceptor_url", self._options.interceptor_url),
            )
            if value
        }
        names = list(modules) or ["controller"]
        addresses = plan.choose_addresses(
            self.state, names, metrics=self._options.metrics, fixed=fixed
        )
        self._where = RunningSuite(
            target=plan.reachable(addresses.grpc["controller"]),
            token=self.state.token(),
            interceptor_url=addresses.interceptor_url,
            local_model_url=addresses.local_model_url,
            pid=os.getpid(),
            api_url=f"http://{addresses.api}",
        )
        if self._specs is not None:
            return self._specs(self.state, addresses)
        environ = {**os.environ, **(self._options.environment or {})}
        return plan.service_specs(self.state, addresses, modules=modules, environ=environ)

    def _publish(self) -> None:
        pids = {
            name: process.pid
            for name, process in self._processes.items()
            if process.pid is not None
        }
        self.state.publish(self.where, pids)

    def _too_slow(self) -> SuiteStartTimeout:
        waiting = [process for process in self._processes.values() if not process.ready]
        names = ", ".join(f"`{process.name}`" for process in waiting)
        logs = "\n".join(f"{process.name}:\n{process.log_tail()}" for process in waiting)
        return SuiteStartTimeout(
            f"{names} did not serve within {self._options.start_seconds:g} s; the logs are in "
            f"`{self.state.logs}`\n{logs}",
            metadata={"services": ", ".join(process.name for process in waiting)},
        )

    async def _stop(self) -> None:
        ranks = sorted({process.spec.stop_rank for process in self._processes.values()})
        for rank in ranks:
            await asyncio.gather(
                *(
                    process.stop()
                    for process in self._processes.values()
                    if process.spec.stop_rank == rank
                )
            )
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks.clear()
        # Not in a thread: at the end of the process no thread can be started any more.
        self.state.unlock()
