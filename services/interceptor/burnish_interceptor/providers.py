"""Where a model's calls go, and which key goes with them: a key only ever to its own address."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from burnish.errors import FailedPrecondition
from burnish_interceptor.policies.policy import Model
from burnish_interceptor.transport.origin import Origin
from burnish_runtime.settings import Secret, ServiceSettings

_HOSTED = {
    "openai": "https://api.openai.com/v1",
    "groq": "https://api.groq.com/openai/v1",
    "google": "https://generativelanguage.googleapis.com/v1beta/openai",
}


class ProviderUnusable(FailedPrecondition):
    """A model's provider has no address, or no key, in this interceptor's settings."""

    default_reason = "PROVIDER_UNUSABLE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """An address that the operator has set, and the key that goes there.

    Attributes:
        base_url: Ends in the API's version, such as `/v1`; empty when there is none.
        key: Sent as a bearer token; None sends none.
    """

    base_url: str
    key: Secret | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where one call goes.

    Attributes:
        origin: Host, port and TLS.
        path: Path of the chat completions.
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

    @classmethod
    def from_settings(cls, settings: ServiceSettings, environ: Mapping[str, str]) -> Providers:
        """Reads the accounts.

        Args:
            settings: Keys, and the address of the local models.
            environ: `BURNISH_{PROVIDER}_BASE_URL` moves a provider, together with its key.
        """

        def account(provider: str, default: str, key: Secret | None) -> Account:
            moved = environ.get(f"BURNISH_{provider.upper()}_BASE_URL", "").strip()
            return Account(base_url=(moved or default).rstrip("/"), key=key)

        return cls(
            {
                "openai": account("openai", _HOSTED["openai"], settings.openai_api_key),
                "groq": account("groq", _HOSTED["groq"], settings.groq_api_key),
                "google": account("google", _HOSTED["google"], settings.google_api_key),
                "openai_compatible": account(
                    "openai_compatible", "", settings.openai_compatible_api_key
                ),
                "local": Account(base_url=_versioned(settings.local_model_url)),
            }
        )

    def target(self, model: Model) -> Target:
        """Returns where a model's calls go.

        A base URL in the model's own settings comes from a job, not from the operator: it is used
        only where no key is at stake, or where it is the operator's own address.

        Raises:
            ProviderUnusable: The provider is unknown, or its address or key is missing.
        """
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
        return _target(model, base_url, key)


def _target(model: Model, base_url: str, key: Secret | None) -> Target:
    parts = urlsplit(base_url)
    try:
        port = parts.port
    except ValueError:
        raise _unusable(model, "has a base URL with a wrong port") from None
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
        raise _unusable(model, "has a base URL that is not http(s)://host[:port]/path")
    if parts.query or parts.fragment or not base_url.isascii() or not base_url.isprintable():
        raise _unusable(model, "has a base URL with more than a path")
    if _link_local(parts.hostname):
        raise _unusable(model, "has a link-local base URL, where cloud metadata lives")
    tls = parts.scheme == "https"
    headers = {"content-type": "application/json", "accept-encoding": "identity"}
    if key is not None:
        headers["authorization"] = f"Bearer {key!s}"
    return Target(
        origin=Origin(host=parts.hostname, port=port or (443 if tls else 80), tls=tls),
        path=f"{parts.path}/chat/completions",
        headers=headers,
    )


def _versioned(base_url: str) -> str:
    """Returns the base URL of the local models with its version, given with or without."""
    return f"{base_url}/v1" if base_url and not base_url.endswith("/v1") else base_url


def _link_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_link_local
    except ValueError:
        return False


def _unusable(model: Model, problem: str) -> ProviderUnusable:
    return ProviderUnusable(
        f"provider `{model.provider}` of model `{model.name}` {problem}",
        metadata={"provider": model.provider, "model": model.name},
    )
