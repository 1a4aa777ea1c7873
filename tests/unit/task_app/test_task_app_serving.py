"""A task app as a process: it serves, stops, and says in one line why it cannot listen."""

import json
import signal
import socket
import subprocess
import sys
import time

import pytest

APP = """
import sys
from burnish.task_app import Result, Rollout, TaskApp, serve

app = TaskApp(id="one", rows=[{"text": "a"}])

@app.rollout
async def run(task: Rollout) -> Result:
    return Result(reward=1.0)

ports = {name: int(port) for name, port in (word.split("=") for word in sys.argv[2:])}
serve(app, port=ports.get("port"), grpc_port=ports.get("grpc_port"), ready_file=sys.argv[1])
"""


def start(tmp_path, *ports: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", APP, str(tmp_path / "ready.json"), *ports],
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("kind", ["port", "grpc_port"])
def test_an_app_that_is_started_twice_says_so_in_one_line(tmp_path, kind):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        process = start(tmp_path, f"{kind}={port}")
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"error: port {port} on 127.0.0.1: another program listens there" in said
    assert "Traceback" not in said


def test_the_server_that_came_up_ends_with_the_one_that_did_not(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start(tmp_path, "port=0", f"grpc_port={taken.getsockname()[1]}")
        _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "another program listens there" in said
    assert "Traceback" not in said
    assert not (tmp_path / "ready.json").exists()


def test_an_app_serves_both_ways_until_it_is_told_to_stop(tmp_path):
    process = start(tmp_path, "port=0", "grpc_port=0")
    ready = tmp_path / "ready.json"
    deadline = time.monotonic() + 60
    while not ready.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    found = json.loads(ready.read_text())
    assert found["pid"] == process.pid
    for url in (found["http"], found["grpc"]):
        host, _, port = url.partition("://")[2].rpartition(":")
        socket.create_connection((host, int(port)), timeout=5).close()
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "task app one listens on" in said
