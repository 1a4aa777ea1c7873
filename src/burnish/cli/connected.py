"""What commands against a running suite share: a client for as long as it takes, and pages."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from burnish.cli.output import Output

if TYPE_CHECKING:
    from burnish.client import AsyncClient

T = TypeVar("T")


def with_client(
    backend: str | None, token: str | None, work: Callable[[AsyncClient], Awaitable[T]]
) -> T:
    """Runs some work with a client of a controller and returns what it returns.

    Args:
        backend: The controller, host:port; None takes the usual one.
        token: Its bearer token; None takes the usual one.
        work: Takes the client.
    """
    from burnish.client import AsyncClient

    async def run() -> T:
        async with AsyncClient(backend, token=token) as client:
            return await work(client)

    return asyncio.run(run())


def show_page(
    output: Output,
    value: Mapping[str, object],
    *,
    command: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
) -> None:
    """Prints one page of a listing, and how to get the next.

    Args:
        output: Where to.
        value: The page as data; its `next_page_token` is empty on the last.
        command: The command that lists, such as `burnish job list`.
        columns: Headings.
        rows: One per entry.
    """
    output.table(value, columns=columns, rows=rows)
    if value["next_page_token"]:
        output.say(f"more: {command} --page-token {value['next_page_token']}")
