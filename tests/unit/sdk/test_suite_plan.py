"""What each process of a suite is told."""

import json
import sys

import pytest

from burnish.connection import find_connection, parse_target
from burnish.errors import InvalidArgument
from burnish.suite.plan import choose_addresses, installed_services, service_specs
from burnish.suite.state import StateDir

ENVIRON = {
    "PATH": "/bin",
    "OPENAI_API_KEY": "provider-secret",
    "SYNTH_API_KEY": "client-secret",
    "ENVIRONMENT_API_KEY": "app-secret",
    "OMP_NUM_THREADS": "8",
}


@pytest.fixture
def state(tmp_path):
    directory = StateDir(tmp_path)
    directory.lock()
    yield directory
    directory.unlock()


def planned(state, **fixed):
    modules = installed_services()
    addresses = choose_addresses(state, list(modules), metrics=False, fixed=fixed)
    specs = service_specs(state, addresses, modules=modules, environ=ENVIRON)
    return {spec.name: spec for spec in specs}, addresses


def test_there_is_one_process_per_installed_service_and_one_for_the_local_models(state):
    specs, _ = planned(state)
    assert sorted(specs) == [
        "controller",
        "interceptor",
        "local",
        "proposer",
        "search",
        "verifier",
    ]
    assert specs["search"].command[-1] == "burnish_search"


def test_every_service_knows_its_peers_and_where_to_listen(state):
    specs, addresses = planned(state)
    for name, spec in specs.items():
        if name == "local":
            continue
        environ = spec.environment
        assert environ["BURNISH_LISTEN"] == addresses.grpc[name]
        assert environ["BURNISH_CONTROLLER"] == addresses.grpc["controller"]
        assert environ["BURNISH_VERIFIER"] == addresses.grpc["verifier"]
        assert environ["BURNISH_INTERCEPTOR_URL"] == f"http://{addresses.http}"
        assert environ["BURNISH_LOCAL_MODEL_URL"] == f"http://{addresses.local}/v1"
        assert environ["BURNISH_METRICS_LISTEN"] == ""
    ports = {*addresses.grpc.values(), *addresses.health.values(), addresses.http, addresses.local}
    assert len(ports) == 12


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no claim to a port is kept")
def test_ports_are_kept_from_other_suites_while_nobody_listens_on_them(state, tmp_path):
    names = ["controller.grpc", "http"]
    own = state.ports(names)
    other = StateDir(tmp_path / "other")
    other.lock()
    (other.path / "ports.json").write_text(json.dumps(own))
    assert not set(other.ports(names).values()) & set(own.values())
    state.unlock()
    (other.path / "ports.json").write_text(json.dumps(own))
    assert other.ports(names) == own
    other.unlock()


def test_secrets_reach_only_those_who_need_them(state):
    specs, _ = planned(state)
    for name, spec in specs.items():
        values = spec.environment.values()
        assert "client-secret" not in values
        assert "app-secret" not in values
        assert state.token() not in values
        assert ("provider-secret" in values) == (name not in {"search", "local"})


def test_each_process_has_one_blas_thread_and_its_own_state(state):
    specs, _ = planned(state)
    assert {spec.environment["OMP_NUM_THREADS"] for spec in specs.values()} == {"1"}
    own = [spec.environment.get("BURNISH_STATE_DIR") for spec in specs.values()]
    assert len(set(own)) == len(own)


def test_the_operator_chooses_addresses_and_peers_dial_what_can_be_dialled(state):
    specs, _ = planned(
        state,
        listen="0.0.0.0:7001",
        http_listen="0.0.0.0:7002",
        interceptor_url="https://burnish.example",
    )
    assert specs["controller"].environment["BURNISH_LISTEN"] == "0.0.0.0:7001"
    assert specs["search"].environment["BURNISH_CONTROLLER"] == "127.0.0.1:7001"
    assert specs["controller"].environment["BURNISH_INTERCEPTOR_URL"] == "https://burnish.example"


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("127.0.0.1:50051", "127.0.0.1:50051"),
        ("http://host:8000/api", "host:8000"),
        ("grpc://host:8000/", "host:8000"),
        ("dns:///controller:50051", "dns:///controller:50051"),
    ],
)
def test_a_backend_is_named_by_target_or_url(text, target):
    assert parse_target(text) == target


@pytest.mark.parametrize("text", ["https://host:1", "http://host:1/elsewhere", "http:///api"])
def test_a_backend_that_cannot_be_dialled_is_refused(text):
    with pytest.raises(InvalidArgument, match="backend"):
        parse_target(text)


def test_ours_goes_before_synths_and_arguments_before_both(tmp_path):
    environ = {
        "BURNISH_TARGET": "ours:1",
        "BACKEND_BASE_URL": "theirs:1",
        "SYNTH_API_KEY": "k",
        "BURNISH_STATE_DIR": str(tmp_path),
    }
    found = find_connection(environ=environ)
    assert found is not None
    assert (found.target, found.token) == ("ours:1", "k")
    assert "k" not in repr(found).replace("token", "")
    given = find_connection("mine:1", "t", environ=environ)
    assert given is not None
    assert (given.target, given.token) == ("mine:1", "t")
    assert find_connection(environ={"BURNISH_STATE_DIR": str(tmp_path)}) is None


def test_a_token_may_stand_in_a_file(tmp_path):
    file = tmp_path / "token"
    file.write_text("from-file\n")
    environ = {
        "BURNISH_TARGET": "a:1",
        "BURNISH_AUTH_TOKEN_FILE": str(file),
        "BURNISH_STATE_DIR": str(tmp_path),
    }
    found = find_connection(environ=environ)
    assert found is not None
    assert found.token == "from-file"
    with pytest.raises(InvalidArgument, match="cannot read"):
        find_connection(environ={**environ, "BURNISH_AUTH_TOKEN_FILE": str(tmp_path / "none")})
