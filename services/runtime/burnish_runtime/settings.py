"""Settings of a service process, read once from `BURNISH_*` variables.

Every problem is reported at once. A secret may be given by value or, with `_FILE` appended to the
variable's name, by the path of a file that holds it; it never shows in a repr.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from burnish.errors import InvalidArgument
from burnish.model_table import MODELS_FILE, ModelsInvalid, load_table
from burnish_runtime.egress import ALLOWED_HOSTS, AllowList

_T = TypeVar("_T")
_TRUE = frozenset({"1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
_HOSTED = ("openai", "groq", "google", "anthropic")
_OPENAI_APIS = ("AUTO", "CHAT", "RESPONSES")
_MEBIBYTE = 1024 * 1024


class SettingsInvalid(InvalidArgument):
    """One or more environment variables cannot be used."""

    default_reason = "SETTINGS_INVALID"


class Secret(str):
    """Text that stays out of reprs, and so out of logs and tracebacks that print objects."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "Secret('***')"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """What a service process is told by its environment.

    Attributes:
        service: Name of the service, such as `search`.
        listen: `host:port` of the gRPC server; port 0 takes a free one.
        health_listen: `host:port` of the open health server.
        metrics_listen: `host:port` of Prometheus metrics; empty turns them off.
        http_listen: `host:port` of the interceptor's data plane.
        auth_token: Bearer token that every call must carry, and that calls to peers carry.
        insecure: Serve without a token; allowed on loopback addresses only.
        token_key: Key of rollout tokens, shared by controller and interceptor.
        ready_file: Where the addresses are written once the service serves; None writes none.
        state_dir: Directory for whatever the service stores.
        node_id: Stable name of this replica.
        controller_target: gRPC target of the controller.
        search_target: gRPC target of the search service.
        proposer_target: gRPC target of the proposer.
        verifier_target: gRPC target of the verifier.
        interceptor_url: Public base URL of the interceptor's data plane.
        local_model_url: Base URL of the local models, for provider `local`.
        openai_api_key: Key for provider `openai`.
        groq_api_key: Key for provider `groq`.
        google_api_key: Key for provider `google`.
        anthropic_api_key: Key for provider `anthropic`.
        moved_base_urls: Hosted providers that the operator has moved, by name; their keys go along.
        openai_api: Which of OpenAI's APIs is asked: `AUTO`, `CHAT` or `RESPONSES`.
        openai_compatible_api_key: Key for provider `openai_compatible`; goes to its address only.
        openai_compatible_base_url: The operator's own address of that provider, or empty.
        proposer_models: Overrides of the proposer's table of models, as text.
        drain_seconds: How long calls in flight may go on after SIGTERM.
        log_level: Lowest level that is logged.
        max_message_bytes: Largest message, in both directions.
        max_pending_calls: Calls that may wait to be accepted before gRPC sheds them.
        max_concurrent_calls: Unary calls served at once; more are refused. Streams count apart.
        max_deadline_seconds: Longest deadline that a unary call may carry.
    """

    service: str
    listen: str = "127.0.0.1:0"
    health_listen: str = "127.0.0.1:0"
    metrics_listen: str = ""
    http_listen: str = "127.0.0.1:0"
    auth_token: Secret | None = None
    insecure: bool = False
    token_key: Secret | None = None
    ready_file: Path | None = None
    state_dir: Path = Path(".burnish")
    node_id: str = "local"
    controller_target: str = ""
    search_target: str = ""
    proposer_target: str = ""
    verifier_target: str = ""
    interceptor_url: str = ""
    local_model_url: str = ""
    openai_api_key: Secret | None = None
    groq_api_key: Secret | None = None
    google_api_key: Secret | None = None
    anthropic_api_key: Secret | None = None
    moved_base_urls: Mapping[str, str] = field(default_factory=dict)
    openai_api: str = "AUTO"
    openai_compatible_api_key: Secret | None = None
    openai_compatible_base_url: str = ""
    proposer_models: str = ""
    drain_seconds: float = 5.0
    log_level: str = "INFO"
    max_message_bytes: int = 16 * _MEBIBYTE
    max_pending_calls: int = 100_000
    max_concurrent_calls: int = 1_000
    max_deadline_seconds: float = 3_600.0

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], *, service: str) -> ServiceSettings:
        """Reads the settings of a service.

        Args:
            environ: Variables, usually `os.environ`.
            service: Name of the service.

        Raises:
            SettingsInvalid: With every problem found. Never valid; do not retry.
        """
        reader = _Reader(environ)
        settings = cls(
            service=service,
            listen=reader.address("BURNISH_LISTEN", default="127.0.0.1:0"),
            health_listen=reader.address("BURNISH_HEALTH_LISTEN", default="127.0.0.1:0"),
            metrics_listen=reader.address("BURNISH_METRICS_LISTEN", default=""),
            http_listen=reader.address("BURNISH_HTTP_LISTEN", default="127.0.0.1:0"),
            auth_token=reader.secret("BURNISH_AUTH_TOKEN"),
            insecure=reader.flag("BURNISH_INSECURE", default=False),
            token_key=reader.secret("BURNISH_TOKEN_KEY"),
            ready_file=reader.path("BURNISH_READY_FILE"),
            state_dir=reader.path("BURNISH_STATE_DIR") or Path(".burnish"),
            node_id=reader.text("BURNISH_NODE_ID") or f"{socket.gethostname()}-{os.getpid()}",
            controller_target=reader.text("BURNISH_CONTROLLER"),
            search_target=reader.text("BURNISH_SEARCH"),
            proposer_target=reader.text("BURNISH_PROPOSER"),
            verifier_target=reader.text("BURNISH_VERIFIER"),
            interceptor_url=reader.text("BURNISH_INTERCEPTOR_URL").rstrip("/"),
            local_model_url=reader.text("BURNISH_LOCAL_MODEL_URL").rstrip("/"),
            openai_api_key=reader.secret("BURNISH_OPENAI_API_KEY", "OPENAI_API_KEY"),
            groq_api_key=reader.secret("BURNISH_GROQ_API_KEY", "GROQ_API_KEY"),
            google_api_key=reader.secret(
                "BURNISH_GOOGLE_API_KEY",
                "BURNISH_GEMINI_API_KEY",
                "GOOGLE_API_KEY",
                "GEMINI_API_KEY",
            ),
            anthropic_api_key=reader.secret("BURNISH_ANTHROPIC_API_KEY", "ANTHROPIC_API_KEY"),
            moved_base_urls={
                provider: url
                for provider in _HOSTED
                if (url := reader.text(f"BURNISH_{provider.upper()}_BASE_URL").rstrip("/"))
            },
            openai_api=reader.choice("BURNISH_OPENAI_API", default="AUTO", choices=_OPENAI_APIS),
            openai_compatible_api_key=reader.secret("BURNISH_OPENAI_COMPATIBLE_API_KEY"),
            openai_compatible_base_url=reader.text("BURNISH_OPENAI_COMPATIBLE_BASE_URL"),
            proposer_models=reader.text("BURNISH_PROPOSER_MODELS"),
            drain_seconds=reader.number("BURNISH_DRAIN_SECONDS", default=5.0, at_least=0.0),
            log_level=reader.choice("BURNISH_LOG_LEVEL", default="INFO", choices=_LOG_LEVELS),
            max_message_bytes=reader.count("BURNISH_MAX_MESSAGE_BYTES", default=16 * _MEBIBYTE),
            max_pending_calls=reader.count("BURNISH_MAX_PENDING_CALLS", default=100_000),
            max_concurrent_calls=reader.count("BURNISH_MAX_CONCURRENT_CALLS", default=1_000),
            max_deadline_seconds=reader.number(
                "BURNISH_MAX_DEADLINE_SECONDS", default=3_600.0, at_least=1.0
            ),
        )
        reader.models_file()
        reader.allowed_hosts()
        reader.raise_problems()
        return settings


def host_and_port(address: str) -> tuple[str, int]:
    """Splits `host:port`, with an IPv6 host in brackets.

    Raises:
        ValueError: The text has another form, or the port is not in [0, 65535].
    """
    host, separator, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    if not separator or not host or (":" in host and not bracketed):
        raise ValueError(f"`{address}` is not `host:port`")
    if not (port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise ValueError(f"port `{port}` is not a number in [0, 65535]")
    return host, int(port)


class _Reader:
    """Reads variables and gathers what is wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._problems: dict[str, str] = {}

    def text(self, name: str) -> str:
        return self._environ.get(name, "").strip()

    def path(self, name: str) -> Path | None:
        text = self.text(name)
        return Path(text).expanduser() if text else None

    def secret(self, *names: str) -> Secret | None:
        """Returns the first of the variables that is set, directly or by `_FILE`."""
        for name in names:
            value, file = self.text(name), self.text(f"{name}_FILE")
            if value and file:
                self._problems[name] = f"`{name}` and `{name}_FILE` are both set; unset one"
            if value:
                return Secret(value)
            if file:
                return self._secret_file(f"{name}_FILE", Path(file).expanduser())
        return None

    def address(self, name: str, *, default: str) -> str:
        text = self.text(name)
        if not text:
            return default
        try:
            host_and_port(text)
        except ValueError as error:
            self._problems[name] = f"`{name}`: {error}; write it like 127.0.0.1:50051"
            return default
        return text

    def flag(self, name: str, *, default: bool) -> bool:
        text = self.text(name).lower()
        if not text:
            return default
        if text not in _TRUE | _FALSE:
            self._problems[name] = f"`{name}`: `{text}` is not a switch; use 1 or 0"
        return text in _TRUE

    def choice(self, name: str, *, default: str, choices: tuple[str, ...]) -> str:
        text = self.text(name).upper() or default
        if text not in choices:
            self._problems[name] = f"`{name}`: `{text}` is not one of {', '.join(choices)}"
        return text

    def count(self, name: str, *, default: int) -> int:
        return self._parsed(name, int, default=default, at_least=1)

    def number(self, name: str, *, default: float, at_least: float) -> float:
        return self._parsed(name, float, default=default, at_least=at_least)

    def models_file(self) -> None:
        """Reads the operator's table of models, so that a wrong one stops the start."""
        try:
            load_table(self.text(MODELS_FILE))
        except ModelsInvalid as error:
            self._problems[MODELS_FILE] = error.message

    def allowed_hosts(self) -> None:
        """Checks the list that is read where hosts are checked."""
        try:
            AllowList(self.text(ALLOWED_HOSTS))
        except ValueError as error:
            self._problems[ALLOWED_HOSTS] = f"`{ALLOWED_HOSTS}`: {error}"

    def raise_problems(self) -> None:
        if self._problems:
            raise SettingsInvalid("; ".join(self._problems.values()), metadata=dict(self._problems))

    def _parsed(self, name: str, parse: Callable[[str], _T], *, default: _T, at_least: float) -> _T:
        text = self.text(name)
        if not text:
            return default
        try:
            value = parse(text)
        except ValueError:
            self._problems[name] = f"`{name}`: `{text}` is not a number"
            return default
        # Written so that NaN, which compares false with everything, is refused too.
        if not at_least <= float(str(value)) < float("inf"):
            self._problems[name] = f"`{name}`: {text} is not a finite number from {at_least:g} on"
        return value

    def _secret_file(self, name: str, path: Path) -> Secret | None:
        try:
            text = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            self._problems[name] = f"`{name}`: cannot read `{path}`: {type(error).__name__}"
            return None
        if not text:
            self._problems[name] = f"`{name}`: `{path}` is empty"
            return None
        return Secret(text)
