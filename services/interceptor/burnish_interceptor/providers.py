"""Where a model's calls go, and which key goes with them: a key only ever to its own address.

Google has two APIs. Its OpenAI-compatible endpoint is used unless the operator sets
`BURNISH_GOOGLE_API=native`; then chat completions are translated to `generateContent` and back, and
policies name the same provider `google` as before. `BURNISH_{PROVIDER}_STREAM_USAGE=off` is for a
compatible server that refuses `stream_options`; such streams are booked at their worst case.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from burnish.errors import FailedPrecondition
from burnish_interceptor.dialects import AppRequest, Forced
from burnish_interceptor.dialects.chat import ChatRequest
from burnish_interceptor.dialects.gemini.dialect import GeminiRequest
from burnish_interceptor.environment import choice
from burnish_interceptor.policies.policy import Model
from burnish_interceptor.transport.origin import Origin
from burnish_runtime.egress import ALLOWED_HOSTS, allowed_host, refused_host
from burnish_runtime.settings import Secret, ServiceSettings

_HOSTED = {
    "openai": "https://api.openai.com/v1",
    "groq": "https://api.groq.com/openai/v1",
    "google": "https://generativelanguage.googleapis.com/v1beta/openai",
}
_MAX_TARGETS = 1000
_LABEL_BYTES = 63


class ProviderUnusable(FailedPrecondition):
    """A model's provider has no address, or no key, in this interceptor's settings."""

    default_reason = "PROVIDER_UNUSABLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An address that the operator has set, and the key that goes there.

    Attributes:
        base_url: Ends in the API's version, such as `/v1`; empty when there is none.
        key: Sent as a bearer token; None sends none.
        stream_usage: Whether the provider can be asked to tell the usage of a stream.
        gemini: Whether chat completions are made by `generateContent`; the base URL is then that of
            Google's own API, and the compatible one stands below it.
    """

    base_url: str
    key: Secret | None = None
    stream_usage: bool = True
    gemini: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where one call goes.

    Attributes:
        origin: Host, port and TLS.
        path: Path of the API that is called.
        headers: Headers with the key.
    """

    origin: Origin
    path: str
    headers: Mapping[str, str] = field(repr=False)


class Providers:
    """The accounts of an interceptor, by provider."""

    def __init__(self, accounts: Mapping[str, Account]) -> None:
        """Takes the accounts; `local` and `openai_compatible` may be without an address."""
        self._accounts = dict(accounts)
        self._targets: dict[tuple[Model, str], Target] = {}
        self._forced: dict[int, Forced] = {}

    @classmethod
    def from_settings(cls, settings: ServiceSettings, environ: Mapping[str, str]) -> Providers:
        """Reads the accounts.

        Args:
            settings: Keys, and the address of the local models.
            environ: `BURNISH_{PROVIDER}_BASE_URL` moves a provider, together with its key.

        Raises:
            SettingsInvalid: A variable has a value that it cannot have.
        """

        def account(provider: str, key: Secret | None, *, default: str = "") -> Account:
            name = f"BURNISH_{provider.upper()}"
            moved = environ.get(f"{name}_BASE_URL", "").strip()
            return Account(
                base_url=(moved or default).rstrip("/"),
                key=key,
                stream_usage=choice(environ, f"{name}_STREAM_USAGE", "on", "off") == "on",
            )

        keys = {
            "openai": settings.openai_api_key,
            "groq": settings.groq_api_key,
            "google": settings.google_api_key,
        }
        native = choice(environ, "BURNISH_GOOGLE_API", "compatible", "native") == "native"
        hosted = {name: account(name, key, default=_HOSTED[name]) for name, key in keys.items()}
        if native:
            google = hosted["google"]
            hosted["google"] = replace(
                google, base_url=google.base_url.removesuffix("/openai"), gemini=True
            )
        return cls(
            {
                **hosted,
                "openai_compatible": account(
                    "openai_compatible", settings.openai_compatible_api_key
                ),
                "local": Account(base_url=_versioned(settings.local_model_url)),
            }
        )

    def forced(self, model: Model) -> Forced:
        """Returns what is forced on the calls of a model."""
        known = self._forced.get(id(model))
        if known is None or known.model is not model:
            known = Forced(model, ask_usage=self.asks_usage(model))
            if len(self._forced) >= _MAX_TARGETS:
                self._forced.clear()
            self._forced[id(model)] = known
        return known

    def spoken(self, request: AppRequest, model: Model) -> AppRequest:
        """Returns a call in the words that a model's provider speaks."""
        account = self._accounts.get(model.provider)
        if account is not None and account.gemini and isinstance(request, ChatRequest):
            return GeminiRequest(request, model.name)
        return request

    def asks_usage(self, model: Model) -> bool:
        """Tells whether a model's provider can be asked to tell the usage of a stream."""
        account = self._accounts.get(model.provider)
        return account is None or account.stream_usage

    def target(self, model: Model, path: str = "/chat/completions") -> Target:
        """Returns where a model's calls go.

        A base URL in the model's own settings comes from a job, not from the operator: it is used
        only where no key is at stake, or where it is the operator's own address.

        Args:
            model: The model.
            path: Path of the API below the base URL.

        Raises:
            ProviderUnusable: The provider is unknown, or its address or key is missing.
        """
        known = self._targets.get((model, path))
        if known is None:
            known = self._target(model, path)
            if len(self._targets) >= _MAX_TARGETS:
                self._targets.clear()
            self._targets[model, path] = known
        return known

    def _target(self, model: Model, path: str) -> Target:
        account = self._accounts.get(model.provider)
        if account is None:
            raise _unusable(model, "is not known here")
        base_url, key = account.base_url, account.key
        if model.provider in ("local", "openai_compatible") and model.base_url:
            base_url = model.base_url.rstrip("/")
            key = key if base_url == account.base_url else None
        elif model.provider in _HOSTED and key is None:
            raise _unusable(model, f"has no key; set BURNISH_{model.provider.upper()}_API_KEY")
        if not base_url:
            raise _unusable(model, "has no base URL; set one in its settings")
        origin, root = _address(model, base_url)
        if base_url != account.base_url and not allowed_host(origin.host, origin.port):
            raise _unusable(model, f"is at a host that the operator's {ALLOWED_HOSTS} leaves out")
        headers = {"content-type": "application/json", "accept-encoding": "identity"}
        native = account.gemini and path.startswith("/models/")
        if account.gemini and not native:
            root += "/openai"
        if key is not None and native:
            headers["x-goog-api-key"] = str(key)
        elif key is not None:
            headers["authorization"] = f"Bearer {key!s}"
        return Target(origin=origin, path=root + path, headers=headers)


def _address(model: Model, base_url: str) -> tuple[Origin, str]:
    try:
        parts = urlsplit(base_url)
        port = parts.port
    except ValueError:
        raise _unusable(model, "has a base URL that cannot be parsed") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise _unusable(model, "has a base URL that is not http(s)://host[:port]/path")
    if parts.query or parts.fragment or not base_url.isascii() or not base_url.isprintable():
        raise _unusable(model, "has a base URL with more than a path")
    labels = parts.hostname.removesuffix(".").split(".")
    if not all(0 < len(label) <= _LABEL_BYTES for label in labels):
        raise _unusable(model, "has a base URL whose host is no host name")
    if refused_host(parts.hostname):
        raise _unusable(model, "has a base URL that is never connected to, as of cloud metadata")
    tls = parts.scheme == "https"
    return Origin(host=parts.hostname, port=port or (443 if tls else 80), tls=tls), parts.path


def _versioned(base_url: str) -> str:
    """Returns the base URL of the local models with its version, given with or without."""
    return f"{base_url}/v1" if base_url and not base_url.endswith("/v1") else base_url


def _unusable(model: Model, problem: str) -> ProviderUnusable:
    return ProviderUnusable(
        f"provider `{model.provider}` of model `{model.name}` {problem}",
        metadata={"provider": model.provider, "model": model.name},
    )
