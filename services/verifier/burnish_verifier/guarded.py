"""Evaluates graphs in a process of their own, under a limit of CPU time per rollout.

Some expressions and schemas take for ever on some texts, and holding the interpreter they would
stop the whole service. The child reads one JSON line per request and writes one per answer. It
limits itself by a timer of its own CPU time, so a loaded machine fails nothing, and it ends when
its parent is gone. It gets none of the service's secrets.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

import structlog

from burnish_verifier.checks.registry import with_plugins
from burnish_verifier.evaluate import CheckSet
from burnish_verifier.fuse import Failed
from burnish_verifier.graph import Graph, Node, from_json, to_json
from burnish_verifier.nodes.base import Evidence, NodeResult

_log = structlog.get_logger("burnish.verifier")
_CPU_SECONDS = 0.5
_GRACE_SECONDS = 60.0
_STARTS_PER_REQUEST = 2
_LINE_LIMIT = 64 * 1024 * 1024
_KEPT_VARIABLES = ("PATH", "PYTHONPATH", "VIRTUAL_ENV", "LANG", "LC_ALL", "LD_LIBRARY_PATH")


Answers = dict[str, NodeResult | Failed]


class GuardedRunner:
    """Runs guarded checks in a child process, which it starts when first needed."""

    def __init__(self) -> None:
        self._child: asyncio.subprocess.Process | None = None
        self._turn = asyncio.Lock()

    async def evaluate(self, nodes: Sequence[Node], evidence: Sequence[Evidence]) -> list[Answers]:
        """Asks checks about rollouts, in order. A child that dies is a failure to retry."""
        checks = Graph(nodes=tuple(nodes), output_node="")
        final = any(node.scope == "final" for node in nodes)
        request = json.dumps(
            {
                "checks": to_json(checks),
                "evidence": [
                    [
                        _text(item.output),
                        _text(item.reference),
                        _text(item.session_trace) if final else "",
                    ]
                    for item in evidence
                ],
            }
        )
        async with self._turn:
            line = await self._answer(request.encode() + b"\n", rollouts=len(evidence))
        if not line:
            lost = Failed(
                reason="CHECK_PROCESS_DIED",
                message="the process that evaluates guarded checks died; try again",
                retryable=True,
            )
            return [{node.node_id: lost for node in nodes} for _ in evidence]
        return [
            {node_id: _read(item) for node_id, item in answers.items()}
            for answers in json.loads(line)
        ]

    async def close(self) -> None:
        """Ends the child."""
        async with self._turn:
            await self._end()

    async def _answer(self, line: bytes, *, rollouts: int) -> bytes:
        """Returns one whole answer, or nothing when the child died or stayed silent."""
        answer = b""
        try:
            async with asyncio.timeout(_GRACE_SECONDS + 2 * _CPU_SECONDS * rollouts):
                answer = await self._ask(line)
        except TimeoutError:
            _log.warning("guarded_process_silent", rollouts=rollouts)
        finally:
            # An answer still under way would be taken for that of the next request.
            if not answer.endswith(b"\n"):
                await self._end()
        return answer if answer.endswith(b"\n") else b""

    async def _ask(self, line: bytes) -> bytes:
        for _ in range(_STARTS_PER_REQUEST):
            child = await self._running()
            if child.stdin is None or child.stdout is None:
                return b""
            try:
                child.stdin.write(line)
                await child.stdin.drain()
            except (BrokenPipeError, ConnectionResetError, RuntimeError):
                # Gone before it read a word: a fresh one is no worse off. uvloop answers a pipe
                # that is closed already with a RuntimeError.
                await self._end()
                continue
            return await child.stdout.readline()
        return b""

    async def _running(self) -> asyncio.subprocess.Process:
        if self._child is None or self._child.returncode is not None:
            kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
            self._child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "burnish_verifier.guarded",
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                limit=_LINE_LIMIT,
                env=kept,
            )
        return self._child

    async def _end(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            if child.returncode is None:
                child.kill()
            await child.wait()


class _OutOfTime(BaseException):
    """The CPU time of one rollout is used up; no check may catch it."""


def serve_stdin() -> None:
    """Answers requests until standard input ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGVTALRM, _stop)
    kinds = with_plugins()
    made: dict[str, CheckSet] = {}
    for line in sys.stdin.buffer:
        request = json.loads(line)
        key = json.dumps(request["checks"], sort_keys=True)
        if key not in made:
            made.clear()
            made[key] = CheckSet.of(from_json(request["checks"]).nodes, kinds)
        answers = [_timed(made[key], *map(_bytes, texts)) for texts in request["evidence"]]
        sys.stdout.buffer.write(json.dumps(answers).encode() + b"\n")
        sys.stdout.buffer.flush()


def _timed(checks: CheckSet, output: bytes, reference: bytes, trace: bytes) -> dict[str, Any]:
    evidence = Evidence(output=output, reference=reference, session_trace=trace)
    found: Answers
    try:
        signal.setitimer(signal.ITIMER_VIRTUAL, _CPU_SECONDS)
        try:
            found = checks.evaluate(evidence)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    except _OutOfTime:
        late = Failed(
            reason="CHECK_TIMEOUT",
            message=f"the checks took over {_CPU_SECONDS} s of CPU time; simplify the pattern",
        )
        found = {node.node_id: late for node in checks.nodes}
    return {node_id: _written(item) for node_id, item in found.items()}


def _text(data: bytes) -> str:
    return data.decode(errors="surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogateescape")


def _stop(number: int, frame: FrameType | None) -> None:
    raise _OutOfTime


def _written(found: NodeResult | Failed) -> dict[str, Any]:
    if isinstance(found, Failed):
        failure = [found.reason, found.message, found.retryable, dict(found.metadata)]
        return {"failure": failure}
    return {"result": [found.score, found.reason]}


def _read(item: Mapping[str, Any]) -> NodeResult | Failed:
    if "failure" in item:
        reason, message, retryable, metadata = item["failure"]
        return Failed(reason=reason, message=message, retryable=retryable, metadata=metadata)
    score, reason = item["result"]
    return NodeResult(score=score, reason=reason)


if __name__ == "__main__":
    serve_stdin()
