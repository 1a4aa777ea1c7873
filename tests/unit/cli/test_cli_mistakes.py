"""An ordinary mistake gets one clear line that names the place, and never a traceback."""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from burnish.cli import app
from burnish.cli.output import FAILED, OK, UNREACHABLE, USAGE


def run(*arguments: str):
    return CliRunner().invoke(app, arguments)


@pytest.fixture
def files():
    """A folder, a file, and a file that is no text."""
    Path("folder").mkdir()
    Path("taken").write_text("taken")
    Path("latin.txt").write_bytes(b"caf\xe9=1\n")


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (("config", "check", "folder"), "CONFIG `folder`: is a folder"),
        (("config", "check", "taken/job.toml"), "CONFIG `taken/job.toml`: lies in something"),
        (("config", "check", "no-such.toml"), "CONFIG `no-such.toml`: no such file"),
        (("train", "folder"), "CONFIG `folder`: is a folder"),
        (("train", "--config", "folder"), "--config `folder`: is a folder"),
        (("train", "job.toml", "--env", "folder"), "--env `folder`: is a folder"),
        (("train", "job.toml", "--env", "latin.txt"), "--env `latin.txt`: is no UTF-8 text"),
        (("estimate", "folder"), "CONFIG `folder`: is a folder"),
        (("eval", "folder"), "CONFIG `folder`: is a folder"),
        (("eval", "job.toml", "--prompt", "folder"), "--prompt `folder`: is a folder"),
        (("eval", "job.toml", "--prompt", "latin.txt"), "--prompt `latin.txt`: is no UTF-8 text"),
        (("policy", "publish", "--file", "folder", "--name", "p"), "--file `folder`: is a folder"),
        (("init", "taken"), "DIRECTORY `taken`: is a file"),
        (("init", "taken/app"), "DIRECTORY `taken/app`: lies in something"),
        (("up", "--state-dir", "taken"), "` cannot be made: it is a file"),
        (("up", "--state-dir", "/proc/x"), "state directory `/proc/x` cannot be made: nothing can"),
    ],
)
def test_a_path_of_the_wrong_kind_is_named_with_its_flag(
    controller, config, files, arguments, place
):
    ended = run(*arguments)
    assert ended.exit_code == USAGE, ended.exception
    assert place in ended.stderr
    assert "Traceback" not in ended.stderr
    assert controller.created == []


def test_a_refusal_of_the_system_is_told_in_words(config, monkeypatch):
    def refuse(self: Path) -> bytes:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "read_bytes", refuse)
    ended = run("config", "check", config)
    assert ended.exit_code == USAGE
    assert f"CONFIG `{config}`: may not be read or written by you" in ended.stderr


def test_a_line_of_an_environment_file_without_a_value_is_named_and_not_shown(controller, config):
    Path("vars.env").write_text("# ours\n\nGOOD=1\nsk-secret\n")
    ended = run("train", config, "--env", "vars.env")
    assert ended.exit_code == USAGE
    assert "--env vars.env: line 4" in ended.stderr
    assert "sk-secret" not in ended.stderr
    assert "GOOD" not in os.environ


@pytest.mark.parametrize(
    "arguments",
    [
        ("eval", "job.toml", "--timeout", "-1"),
        ("estimate", "job.toml", "--max-usd", "-1"),
        ("train", "job.toml", "--poll-timeout", "-5"),
        ("gate", "job.toml", "--max-loss", "-1"),
        ("gate", "job.toml", "--timeout", "-1"),
        ("job", "watch", "pl_0001", "--timeout", "-1"),
        ("task", "check", "http://127.0.0.1:9", "--timeout", "-1"),
    ],
)
def test_a_negative_number_is_a_usage_error(controller, config, arguments):
    ended = run(*arguments)
    assert ended.exit_code == USAGE
    assert arguments[-2] in ended.stderr
    assert controller.created == []


def test_an_unknown_phase_is_refused_with_those_that_are_known(controller, config):
    run("job", "submit", config)
    ended = run("job", "rollouts", "pl_0001", "--phase", "bogus")
    assert ended.exit_code == USAGE
    for phase in ("baseline", "bootstrap", "search", "proxy", "test"):
        assert phase in ended.stderr
        assert run("job", "rollouts", "pl_0001", "--phase", phase).exit_code == OK


@pytest.mark.parametrize("target", ["127.0.0.1:1", "nonsense.invalid:50051"])
def test_a_backend_that_is_away_is_named_with_where_it_was_given(target, monkeypatch):
    ended = run("job", "list", "--backend", target)
    assert ended.exit_code == UNREACHABLE
    assert f"`{target}` (from --backend)" in ended.stderr
    assert "burnish up" in ended.stderr
    assert "ipv4:" not in ended.stderr
    monkeypatch.setenv("BURNISH_TARGET", target)
    assert f"`{target}` (from BURNISH_TARGET)" in run("job", "list").stderr


def test_a_task_app_whose_port_cannot_be_is_told_so():
    for command in (("task", "check"), ("doctor", "--task-url")):
        ended = run(*command, "http://127.0.0.1:99999")
        assert ended.exit_code in {FAILED, USAGE}
        assert "port" in ended.stdout + ended.stderr
        assert "99999" in ended.stdout + ended.stderr
        assert "InvalidUrl" not in ended.stdout + ended.stderr


def test_checks_that_were_skipped_have_not_passed():
    ended = run("task", "check", "http://127.0.0.1:9", "--timeout", "2")
    assert ended.exit_code == FAILED
    assert ended.stdout.splitlines()[-1] == "0 passed, 1 failed, 10 skipped"


def test_the_doctor_sees_that_the_state_directory_is_a_file():
    Path("taken").write_text("taken")
    for path in ("taken", "taken/state"):
        ended = run("doctor", "--state-dir", path)
        assert ended.exit_code == FAILED
        assert "✗ state directory: `" in ended.stdout
    assert "✓ state directory" in run("doctor", "--state-dir", "not/there/yet").stdout


@pytest.mark.parametrize("flag", ["--listen", "--http-listen"])
@pytest.mark.parametrize(
    "address", ["nonsense", "127.0.0.1:99999", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:0", "::1:80"]
)
def test_an_address_to_listen_on_is_checked_at_once(flag, address):
    began = time.monotonic()
    ended = run("up", flag, address)
    assert time.monotonic() - began < 5
    assert ended.exit_code == USAGE
    assert f"{flag} `{address}`" in ended.stderr
    assert not Path("state").exists()


@pytest.mark.parametrize("flag", ["--listen", "--http-listen"])
def test_an_address_that_is_taken_is_named_before_the_services_start(flag):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        began = time.monotonic()
        ended = run("up", flag, address)
    assert time.monotonic() - began < 5
    assert ended.exit_code == FAILED
    assert f"{flag} `{address}`: another program listens there" in ended.stderr


def test_local_models_on_a_port_that_is_taken_name_the_port():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        # A process of its own, since the server takes the signals of the one that it runs in.
        ended = subprocess.run(
            [sys.executable, "-m", "burnish.cli", "local", "serve", "--port", str(port)],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert ended.returncode == FAILED
    assert f"--port {port}" in ended.stderr
    assert "Traceback" not in ended.stderr


class Policies:
    """The part of a client's policies that lists and deletes."""

    def __init__(self, *names: str) -> None:
        self.names = names
        self.deleted: list[str] = []


@pytest.fixture
def policies(monkeypatch):
    from burnish.errors import NotFound
    from burnish.policies import AsyncPolicies, PolicyPage, PolicySnapshot

    known = Policies("policies/live")

    def shown(name: str) -> PolicySnapshot:
        return PolicySnapshot(
            name=name, version=1, job="", base_url="http://h", arms=(), stages={},
            create_time=None, update_time=None, replicas=(),
        )  # fmt: skip

    async def listed(self: object, *, page_size: int = 0, page_token: str = "") -> PolicyPage:
        # One on a page, to see that every page is looked at.
        position = int(page_token or "0")
        names = (*known.names, "policies/other")
        left = position + 1 < len(names)
        return PolicyPage(
            policies=(shown(names[position]),), next_page_token=str(position + 1) if left else ""
        )

    async def get(self: object, name: str) -> PolicySnapshot:
        raise NotFound(f"there is no job `jobs/{name}`", reason="JOB_NOT_FOUND")

    async def delete(self: object, name: str) -> None:
        known.deleted.append(name)

    for function in (get, delete):
        monkeypatch.setattr(AsyncPolicies, function.__name__, function)
    monkeypatch.setattr(AsyncPolicies, "list", listed)
    return known


def test_only_a_policy_that_is_there_is_deleted(controller, policies):
    ended = run("policy", "delete", "nope")
    assert ended.exit_code == FAILED
    assert ended.stdout == ""
    assert "there is no online policy `nope`" in ended.stderr
    assert policies.deleted == []
    for name in ("live", "policies/other"):
        assert run("policy", "delete", name).stdout == f"{name} deleted\n"
    assert policies.deleted == ["live", "policies/other"]


def test_a_policy_that_is_not_there_is_no_job(controller, policies):
    ended = run("policy", "get", "nope")
    assert ended.exit_code == FAILED
    assert "there is no online policy `nope`" in ended.stderr
    assert "job" not in ended.stderr
