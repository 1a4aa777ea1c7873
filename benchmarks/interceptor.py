"""What the interceptor's data plane costs, beside nginx as the physical limit, on one core.

    python -m benchmarks.interceptor [--seconds 3] [--prompt-bytes 65536] [--rate 1000]

Every gateway has core 0 to itself; the provider, the controller and the load share core 1. `CPU` is
the CPU time of the gateway's process over the calls that it answered: other work on the machine
hardly changes it, so compare ratios within one run. nginx (`apt-get install nginx-light`) is left
out when it is not installed. What each row does:

nginx        passes bytes on; parses no body, keeps no trace
relay        our transport alone: both ends of HTTP, no body parsed
interceptor  key, policy, stage, candidate put in, reply rebuilt, trace sent to the controller
untraced     the same with the trace queue too small to keep any
compiled     the same as `interceptor`, its way of a call compiled by `make compile`; else left out
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import uvloop

from benchmarks.interceptor_load import Load, Measured, run
from benchmarks.interceptor_parts import MODELS
from burnish_interceptor.dialects import PARSERS, Shown
from burnish_interceptor.routes import Tail
from burnish_interceptor.testing import BASELINE, completion, events
from burnish_interceptor.transport.origin import Origin

KEY = "benchmark-key"
PROVIDER, CONTROLLER, FIRST_PORT = 9410, 9411, 9420
GATEWAY_CORE, LOAD_CORE = "0", "1"
COMPILED = Path(__file__).resolve().parent.parent / ".compiled"
_NGINX = """
daemon off; worker_processes 1; pid {work}/pid; error_log {work}/error.log warn; {user}
events {{ worker_connections 4096; }}
http {{ access_log off; keepalive_requests 100000000; tcp_nodelay on;
  client_body_temp_path {work}/b; proxy_temp_path {work}/p; fastcgi_temp_path {work}/f;
  uwsgi_temp_path {work}/u; scgi_temp_path {work}/s;
  client_body_buffer_size 4m; client_max_body_size 64m;
  upstream u {{ server 127.0.0.1:{upstream}; keepalive 512; keepalive_requests 100000000; }}
  server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://u;
    proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }} }} }}
"""


@dataclass(slots=True, kw_only=True)
class Gateway:
    """Something to measure.

    Attributes:
        name: Of the row.
        command: What starts it; empty for the provider itself.
        environ: Further variables.
        port: Where it listens.
        path: Path of the calls of a model.
        cells: The row.
    """

    name: str
    command: Sequence[str] = ()
    environ: Mapping[str, str] = field(default_factory=dict)
    port: int = PROVIDER
    path: str = "/v1/chat/completions"
    cells: dict[str, str] = field(default_factory=dict)
    cpu: float = 0.0


def gateways(work: Path) -> list[Gateway]:
    """Returns what can be measured here."""
    found = [Gateway(name="direct")]
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is not None:
        user = "user root;" if os.geteuid() == 0 else ""
        config = work / "nginx.conf"
        text = _NGINX.format(work=work, upstream=PROVIDER, port=FIRST_PORT, user=user)
        config.write_text(text, encoding="utf-8")
        command = (nginx, "-c", str(config), "-p", str(work))
        found.append(Gateway(name="nginx", command=command, port=FIRST_PORT))
    parts = (sys.executable, "-m", "benchmarks.interceptor_parts")
    relay = (*parts, "relay", str(FIRST_PORT + 1), str(PROVIDER))
    found.append(Gateway(name="relay", command=relay, port=FIRST_PORT + 1))
    ways = [("interceptor", {}), ("untraced", {"BURNISH_TRACE_BUFFER_BYTES": "1"})]
    if COMPILED.is_dir():
        ways.append(("compiled", {"PYTHONPATH": str(COMPILED)}))
    for number, (name, more) in enumerate(ways, start=2):
        environ = {
            "BURNISH_AUTH_TOKEN": KEY,
            "BURNISH_TOKEN_KEY": "a key that is long enough for the benchmark's tokens",
            "BURNISH_CONTROLLER": f"127.0.0.1:{CONTROLLER}",
            "BURNISH_OPENAI_API_KEY": "provider-key",
            "BURNISH_OPENAI_BASE_URL": f"http://127.0.0.1:{PROVIDER}/v1",
            "BURNISH_HTTP_LISTEN": f"127.0.0.1:{FIRST_PORT + number}",
            "BURNISH_LOG_LEVEL": "ERROR",
            **more,
        }
        found.append(
            Gateway(
                name=name,
                command=(sys.executable, "-m", "burnish_interceptor"),
                environ=environ,
                port=FIRST_PORT + number,
                path="/p/{model}/v1/chat/completions",
            )
        )
    return found


@contextlib.contextmanager
def process(
    command: Sequence[str], *, core: str, environ: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a process on one core."""
    pinned = ["taskset", "-c", core, *command]
    running = subprocess.Popen(pinned, env={**os.environ, **(environ or {})})
    try:
        yield running
    finally:
        running.terminate()
        running.wait(20)


def tree(pid: int) -> list[int]:
    """Returns a process and its children."""
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            found += tree(int(child))
    return found


def cpu_seconds(pid: int) -> float:
    """Returns the CPU time of a process tree, all threads."""
    schedules = (s for one in tree(pid) for s in Path(f"/proc/{one}/task").glob("*/schedstat"))
    return sum(int(path.read_text().split()[0]) for path in schedules) / 1e9


def memory(pid: int) -> float:
    """Returns the memory of a process tree in MiB, shared pages counted once."""
    rollups = [Path(f"/proc/{one}/smaps_rollup").read_text() for one in tree(pid)]
    lines = [line for text in rollups for line in text.splitlines() if line.startswith("Pss:")]
    return sum(int(line.split()[1]) for line in lines) / 1024


def body(model: str, *, stream: bool, prompt_bytes: int) -> bytes:
    """Returns a call's body."""
    said = "Where is my card? " + "and then some more words " * (prompt_bytes // 25)
    messages = [{"role": "system", "content": BASELINE}, {"role": "user", "content": said}]
    data = {"model": model, "messages": messages, "temperature": 0.0, "max_tokens": 64}
    return json.dumps(data | ({"stream": True} if stream else {})).encode()


def until_ready(gateway: Gateway) -> float:
    """Waits for the first good answer; returns the seconds that it took."""
    began = time.monotonic()
    path = gateway.path.format(model=MODELS[0])
    data = body(MODELS[0], stream=False, prompt_bytes=0)
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    while time.monotonic() - began < 30:
        connection = http.client.HTTPConnection("127.0.0.1", gateway.port, timeout=5)
        with contextlib.suppress(OSError), contextlib.closing(connection):
            connection.request("POST", path, data, headers)
            if connection.getresponse().status == 200:
                return time.monotonic() - began
        time.sleep(0.01)
    raise SystemExit(f"{gateway.name} gave no good answer within 30 s")


class Bench:
    """Measures one gateway after the other."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options

    def measure(self, gateway: Gateway) -> None:
        """Fills a gateway's row."""
        with contextlib.ExitStack() as stack:
            pid = 0
            if gateway.command:
                started = process(gateway.command, core=GATEWAY_CORE, environ=gateway.environ)
                pid = stack.enter_context(started).pid
            gateway.cells["start s"] = f"{until_ready(gateway):.2f}" if pid else "-"
            gateway.cells["idle MiB"] = f"{memory(pid):.0f}" if pid else "-"
            self._load(gateway, MODELS[0], seconds=0.7)
            used = cpu_seconds(pid) if pid else 0.0
            full = self._load(gateway, MODELS[0])
            if pid:
                gateway.cpu = (cpu_seconds(pid) - used) / max(1, full.calls) * 1e6
            gateway.cells["req/s"] = f"{full.calls / full.seconds:,.0f}"
            gateway.cells["CPU us"] = f"{gateway.cpu:.1f}" if pid else "-"
            steady = self._load(gateway, MODELS[1], rate=self._options.rate)
            gateway.cells["p50 ms"] = f"{steady.percentile(0.5):.2f}"
            gateway.cells["p99 ms"] = f"{steady.percentile(0.99):.2f}"
            used = cpu_seconds(pid) if pid else 0.0
            streams = self._load(gateway, MODELS[2], stream=True, at_once=64)
            if pid:
                spent = (cpu_seconds(pid) - used) / max(1, streams.calls) * 1e6
                gateway.cells["CPU us/stream"] = f"{spent:,.0f}"
            gateway.cells["first event p50"] = f"{streams.percentile(0.5):.1f}"
            gateway.cells["after MiB"] = f"{memory(pid):.0f}" if pid else "-"
            failed = full.failed + steady.failed + streams.failed
            gateway.cells["failed"] = str(failed)

    def _load(
        self,
        gateway: Gateway,
        model: str,
        *,
        stream: bool = False,
        rate: float = 0.0,
        at_once: int = 32,
        seconds: float = 0.0,
    ) -> Measured:
        return uvloop.run(
            run(
                Load(
                    origin=Origin(host="127.0.0.1", port=gateway.port, tls=False),
                    path=gateway.path.format(model=model),
                    key=KEY,
                    body=body(model, stream=stream, prompt_bytes=self._options.prompt_bytes),
                    seconds=seconds or self._options.seconds,
                    at_once=at_once,
                    rate=rate,
                )
            )
        )


def rebuilding() -> str:
    """Returns what it costs to rebuild a reply and an event from the allow-list."""
    asked = PARSERS[Tail.CHAT](body(MODELS[0], stream=True, prompt_bytes=0))
    shown = Shown(model="m")
    whole, stream = completion("sentence " * 80), events(["word "] * 50)
    count = 53

    def timed(rounds: int, work: object) -> float:
        best = []
        for _ in range(5):
            began = time.process_time()
            for _ in range(rounds):
                work()  # type: ignore[operator]
            best.append((time.process_time() - began) / rounds * 1e6)
        return min(best)

    reply = timed(2000, lambda: asked.answer(whole, shown))
    event = timed(200, lambda: asked.events(shown).feed(stream)) / count
    return (
        f"rebuilding from the allow-list: {reply:.1f} us a reply of 1 KB, {event:.1f} us an event"
    )


def table(rows: Sequence[Gateway]) -> str:
    """Returns the rows as a table."""
    base = next((row.cpu for row in rows if row.name == "nginx"), 0.0)
    for row in rows:
        row.cells["of nginx"] = f"{base / row.cpu:.2f}" if base and row.cpu else "-"
    names = ["start s", "idle MiB", "after MiB", "req/s", "CPU us", "of nginx", "p50 ms", "p99 ms"]
    names += ["CPU us/stream", "first event p50", "failed"]
    lines = [["gateway", *names]]
    lines += [[row.name, *(row.cells.get(name, "-") for name in names)] for row in rows]
    widths = [max(len(line[place]) for line in lines) for place in range(len(lines[0]))]
    return "\n".join(
        "  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True))
        for line in lines
    )


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--prompt-bytes", type=int, default=0)
    parser.add_argument("--rate", type=float, default=1000.0)
    options = parser.parse_args()
    os.sched_setaffinity(0, {int(LOAD_CORE)})
    parts = (sys.executable, "-m", "benchmarks.interceptor_parts")
    with (
        tempfile.TemporaryDirectory() as work,
        process((*parts, "provider", str(PROVIDER)), core=LOAD_CORE),
        process((*parts, "controller", str(CONTROLLER)), core=LOAD_CORE),
    ):
        rows = gateways(Path(work))
        until_ready(rows[0])
        bench = Bench(options)
        for row in rows:
            bench.measure(row)
    print(table(rows))
    print(rebuilding())


if __name__ == "__main__":
    main()
