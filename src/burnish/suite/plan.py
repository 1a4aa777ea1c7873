"""Which processes a suite consists of, and what each is told by its environment."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from burnish.errors import FailedPrecondition, MissingExtra
from burnish.suite.state import StateDir

ENTRY_POINT_GROUP = "burnish.services"
LOCAL_MODELS = "local"
HOST = "127.0.0.1"

_REQUIRED = ("controller", "interceptor", "proposer", "search", "verifier")
_NEED_PROVIDER_KEYS = frozenset({"controller", "interceptor", "proposer", "verifier"})
_PROVIDER_KEYS = frozenset(
    f"{prefix}{name}_API_KEY{suffix}"
    for prefix in ("", "BURNISH_")
    for name in ("OPENAI", "GROQ", "GOOGLE", "GEMINI", "OPENAI_COMPATIBLE")
    for suffix in ("", "_FILE")
)
# Secrets of the user's side, and of other suites: no service needs them from the environment.
_CLIENT_SECRETS = frozenset(
    {
        "SYNTH_API_KEY",
        "ENVIRONMENT_API_KEY",
        "DEV_ENVIRONMENT_API_KEY",
        "ENVIRONMENT_API_KEY_ALIASES",
        "BURNISH_AUTH_TOKEN",
        "BURNISH_TOKEN_KEY",
    }
)
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSpec:
    """One process of a suite.

    Attributes:
        name: Name of the service.
        command: What to run.
        environment: All of its environment.
        ready_file: File that it writes when it serves.
        log_file: File that takes its output.
        stop_rank: Processes of a lower rank are stopped first.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    ready_file: Path
    log_file: Path
    stop_rank: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """Where everything in a suite listens.

    Attributes:
        grpc: gRPC address of each service.
        health: Health address of each service.
        metrics: Metrics address of each service; empty when off.
        http: Address of the interceptor's data plane.
        local: Address of the local models.
        interceptor_url: Base URL that task apps reach the data plane by.
        api: Address of the controller's scoring endpoints.
    """

    grpc: Mapping[str, str]
    health: Mapping[str, str]
    metrics: Mapping[str, str]
    http: str
    local: str
    interceptor_url: str
    api: str

    @property
    def local_model_url(self) -> str:
        """Base URL of the local models."""
        return f"http://{self.local}/v1"


def installed_services() -> dict[str, str]:
    """Returns the module to run for each installed service, by name.

    Raises:
        MissingExtra: A service of the suite is not installed.
        FailedPrecondition: Two packages offer a service of the same name.
    """
    found: dict[str, str] = {}
    for point in sorted(entry_points(group=ENTRY_POINT_GROUP), key=lambda point: point.name):
        module = point.module.rpartition(".")[0] or point.module
        if found.setdefault(point.name, module) != module:
            raise FailedPrecondition(
                f"service `{point.name}` is offered by `{found[point.name]}` and by `{module}`; "
                "uninstall one of the two",
                reason="SERVICE_NAME_CLASH",
                metadata={"service": point.name},
            )
    for name in _REQUIRED:
        if name not in found:
            raise MissingExtra(package=f"burnish_{name}", extra="all")
    return found


def choose_addresses(
    state: StateDir, services: Sequence[str], *, metrics: bool, fixed: Mapping[str, str]
) -> Addresses:
    """Chooses where everything listens.

    Args:
        state: Remembers the ports.
        services: Names of the gRPC services.
        metrics: Whether metrics are served.
        fixed: Addresses chosen by the operator: `listen` of the controller, `http_listen` and
            `interceptor_url` of the data plane.
    """
    kinds = ["grpc", "health", *(["metrics"] if metrics else [])]
    ports = state.ports(
        [f"{name}.{kind}" for name in services for kind in kinds] + ["http", "local", "api"]
    )
    listen = {
        kind: {name: f"{HOST}:{ports[f'{name}.{kind}']}" for name in services} for kind in kinds
    }
    if "listen" in fixed:
        listen["grpc"]["controller"] = fixed["listen"]
    http = fixed.get("http_listen", f"{HOST}:{ports['http']}")
    return Addresses(
        grpc=listen["grpc"],
        health=listen["health"],
        metrics=listen.get("metrics", {}),
        http=http,
        local=f"{HOST}:{ports['local']}",
        api=f"{HOST}:{ports['api']}",
        interceptor_url=fixed.get("interceptor_url", f"http://{reachable(http)}"),
    )


def reachable(address: str) -> str:
    """Returns an address that a client on this machine can dial."""
    host, _, port = address.rpartition(":")
    return f"{HOST}:{port}" if host in {"0.0.0.0", "[::]", ""} else address  # noqa: S104


def service_specs(
    state: StateDir,
    addresses: Addresses,
    *,
    modules: Mapping[str, str],
    environ: Mapping[str, str],
) -> list[ServiceSpec]:
    """Returns the specification of every process, the local models included."""
    specs = [
        ServiceSpec(
            name=name,
            command=module_command(module),
            environment=_environment(name, state, addresses, environ),
            ready_file=state.run / f"{name}.json",
            log_file=state.logs / f"{name}.log",
            stop_rank=0 if name == "controller" else 1,
        )
        for name, module in modules.items()
    ]
    ready_file = state.run / f"{LOCAL_MODELS}.json"
    host, _, port = addresses.local.rpartition(":")
    options = ("--host", host, "--port", port, "--ready-file", str(ready_file))
    specs.append(
        ServiceSpec(
            name=LOCAL_MODELS,
            command=(*module_command("burnish.local"), *options),
            environment=_base_environment(LOCAL_MODELS, environ),
            ready_file=ready_file,
            log_file=state.logs / f"{LOCAL_MODELS}.log",
            stop_rank=2,
        )
    )
    return specs


def module_command(module: str) -> tuple[str, ...]:
    """Returns the command that runs a module as a child of this process."""
    # -P keeps the working directory off the import path: a user's own `search.py` is not ours.
    return (sys.executable, "-P", "-m", "burnish.suite.child", str(os.getpid()), module)


def _base_environment(name: str, environ: Mapping[str, str]) -> dict[str, str]:
    left_out = _CLIENT_SECRETS if name in _NEED_PROVIDER_KEYS else _CLIENT_SECRETS | _PROVIDER_KEYS
    kept = {key: value for key, value in environ.items() if key not in left_out}
    return {
        **kept,
        **dict.fromkeys(_ONE_THREAD, "1"),
        "PYTHONUNBUFFERED": "1",
    }


def _environment(
    name: str, state: StateDir, addresses: Addresses, environ: Mapping[str, str]
) -> dict[str, str]:
    own_state = state.path / name
    own_state.mkdir(exist_ok=True, mode=0o700)
    targets = {
        f"BURNISH_{peer.upper()}": reachable(address)
        for peer, address in addresses.grpc.items()
        if peer != "interceptor"
    }
    return {
        **_base_environment(name, environ),
        **targets,
        "BURNISH_LISTEN": addresses.grpc[name],
        "BURNISH_HEALTH_LISTEN": addresses.health[name],
        "BURNISH_METRICS_LISTEN": addresses.metrics.get(name, ""),
        "BURNISH_HTTP_LISTEN": addresses.http,
        "BURNISH_API_LISTEN": addresses.api,
        "BURNISH_INTERCEPTOR_URL": addresses.interceptor_url,
        "BURNISH_LOCAL_MODEL_URL": addresses.local_model_url,
        "BURNISH_AUTH_TOKEN_FILE": str(state.auth_token_file),
        "BURNISH_TOKEN_KEY_FILE": str(state.token_key_file),
        "BURNISH_READY_FILE": str(state.run / f"{name}.json"),
        "BURNISH_STATE_DIR": str(own_state),
        "BURNISH_NODE_ID": name,
    }
