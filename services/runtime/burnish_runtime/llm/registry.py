"""Which provider a model spec means: the built-in adapters and those of plug-ins, opened once each.

An operator's key goes only to the provider that it is for: a base URL in a model spec is for
self-hosted servers, and is refused for a hosted provider.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from burnish.errors import FailedPrecondition, InvalidArgument
from burnish_runtime.egress import ALLOWED_HOSTS, allowed_host, refused_host
from burnish_runtime.llm.anthropic import AnthropicProvider
from burnish_runtime.llm.base import LlmProvider, ProviderAccess
from burnish_runtime.llm.google import GoogleProvider
from burnish_runtime.llm.groq import GroqProvider
from burnish_runtime.llm.openai import OpenAiApi, OpenAiProvider
from burnish_runtime.settings import ServiceSettings

PLUGIN_GROUP = "burnish.llm_providers"

ProviderFactory = Callable[[ProviderAccess], LlmProvider]


class ProviderNotConfigured(FailedPrecondition):
    """The provider needs something that this deployment has not been given."""

    default_reason = "PROVIDER_NOT_CONFIGURED"


class ProviderInvalid(InvalidArgument):
    """A model spec whose provider and base URL can never be served."""

    default_reason = "PROVIDER_INVALID"


def _openai_compatible(access: ProviderAccess) -> LlmProvider:
    return OpenAiProvider(access, name="openai_compatible")


def _local(access: ProviderAccess) -> LlmProvider:
    return OpenAiProvider(access, name="local")


BUILT_IN: Mapping[str, ProviderFactory] = {
    "openai": OpenAiProvider,
    "groq": GroqProvider,
    "google": GoogleProvider,
    "anthropic": AnthropicProvider,
    "openai_compatible": _openai_compatible,
    "local": _local,
}


@dataclass(frozen=True, slots=True)
class _Hosted:
    """Where the key of a hosted provider comes from, and what its package adds to a base URL.

    Attributes:
        variable: Names the key.
        key: Returns the key.
        added: Ends of a base URL, one of which the package adds itself; none keeps it whole.
    """

    variable: str
    key: Callable[[ServiceSettings], str | None]
    added: tuple[str, ...] = ()


_HOSTED: Mapping[str, _Hosted] = {
    "openai": _Hosted("BURNISH_OPENAI_API_KEY", lambda s: s.openai_api_key),
    "groq": _Hosted("BURNISH_GROQ_API_KEY", lambda s: s.groq_api_key, ("/openai/v1",)),
    "google": _Hosted(
        "BURNISH_GOOGLE_API_KEY", lambda s: s.google_api_key, ("/v1beta/openai", "/v1beta")
    ),
    "anthropic": _Hosted("BURNISH_ANTHROPIC_API_KEY", lambda s: s.anthropic_api_key, ("/v1",)),
}


class ProviderRegistry:
    """Opens providers as they are asked for, one per name and base URL."""

    def __init__(
        self, settings: ServiceSettings, *, plugins: Mapping[str, ProviderFactory] | None = None
    ) -> None:
        """Starts with nothing open.

        Args:
            settings: Keys and the address of the local models.
            plugins: Factories of further providers, by name; they may not take a built-in name.

        Raises:
            InvalidArgument: A plug-in takes a built-in name.
        """
        taken = sorted(set(plugins or {}) & set(BUILT_IN))
        if taken:
            raise InvalidArgument(
                f"plug-ins of `{PLUGIN_GROUP}` take built-in names: {', '.join(taken)}; "
                "rename them",
                reason="PLUGIN_CLASH",
                metadata={"names": ", ".join(taken)},
            )
        self._settings = settings
        api = OpenAiApi[settings.openai_api]
        self._factories: dict[str, ProviderFactory] = {
            **BUILT_IN,
            "openai": lambda access: OpenAiProvider(access, api=api),
            **(plugins or {}),
        }
        self._open: dict[tuple[str, str], LlmProvider] = {}
        self._opening = threading.Lock()

    def get(self, provider: str, *, base_url: str = "") -> LlmProvider:
        """Returns the provider of a model spec, opening it when needed.

        Opening imports the provider's package, which takes long enough to be done in a thread;
        that is allowed from any thread.

        Args:
            provider: Provider name.
            base_url: As in the spec; empty means the provider's own.

        Raises:
            ProviderInvalid: No such provider, or a base URL where none may be. Do not retry.
            ProviderNotConfigured: A key or an address is missing in the settings.
            MissingExtra: The provider's package is not installed.
        """
        access = self.access(provider, base_url)
        key = (provider, access.base_url)
        with self._opening:
            if key not in self._open:
                self._open[key] = self._factories[provider](access)
            return self._open[key]

    @property
    def _own_urls(self) -> tuple[str, str]:
        settings = self._settings
        return settings.openai_compatible_base_url.rstrip("/"), settings.local_model_url

    async def close(self) -> None:
        """Closes every open provider."""
        opened, self._open = list(self._open.values()), {}
        await asyncio.gather(*(provider.close() for provider in opened))

    def access(self, provider: str, base_url: str) -> ProviderAccess:
        """Returns the key and address of a provider, for an adapter that asks it something else.

        Raises:
            ProviderInvalid: No such provider, or a base URL where none may be. Do not retry.
            ProviderNotConfigured: A key or an address is missing in the settings.
        """
        if provider not in self._factories:
            known = ", ".join(sorted(self._factories))
            raise ProviderInvalid(
                f"provider `{provider}` is unknown; use one of {known}",
                metadata={"provider": provider, "known": known},
            )
        hosted = _HOSTED.get(provider)
        given = base_url.rstrip("/") not in ("", *self._own_urls)
        if given and hosted is None and _never_called(base_url):
            raise ProviderInvalid(
                f"base_url `{base_url}` is never connected to; give a server of your own, one of "
                f"the operator's {ALLOWED_HOSTS} where that is set",
                metadata={"provider": provider},
            )
        if hosted is not None:
            return _hosted_access(provider, base_url, hosted, self._settings)
        if provider == "local":
            return _local_access(base_url, self._settings)
        if provider == "openai_compatible":
            return _compatible_access(base_url, self._settings)
        return ProviderAccess(api_key="", base_url=base_url)


def _hosted_access(
    provider: str, base_url: str, hosted: _Hosted, settings: ServiceSettings
) -> ProviderAccess:
    if base_url:
        raise ProviderInvalid(
            f"provider `{provider}` takes no base_url; for a server of your own set "
            "provider = `openai_compatible`",
            metadata={"provider": provider},
        )
    key = hosted.key(settings)
    if not key:
        raise ProviderNotConfigured(
            f"provider `{provider}` has no API key; set {hosted.variable} or "
            f"{hosted.variable}_FILE, or use provider `local`",
            metadata={"provider": provider, "variable": hosted.variable},
        )
    return ProviderAccess(api_key=key, base_url=_moved_url(provider, hosted, settings))


def _moved_url(provider: str, hosted: _Hosted, settings: ServiceSettings) -> str:
    """Returns where the operator has moved a provider, as its package wants that; mostly empty.

    The variable is the interceptor's too, which wants the whole of the URL.
    """
    url = settings.moved_base_urls.get(provider, "")
    if not url or not hosted.added:
        return url
    for end in hosted.added:
        if url.endswith(end):
            return url.removesuffix(end)
    variable = f"BURNISH_{provider.upper()}_BASE_URL"
    raise ProviderNotConfigured(
        f"{variable} is `{url}`; end it in {' or '.join(f'`{end}`' for end in hosted.added)}, "
        "which the provider's package adds itself",
        metadata={"provider": provider, "variable": variable},
    )


def _compatible_access(base_url: str, settings: ServiceSettings) -> ProviderAccess:
    """Returns where a compatible server is; the operator's key goes to the operator's address only.

    A base URL comes from a job: sent along with it, the key would be whoever's submits one.
    """
    own = settings.openai_compatible_base_url.rstrip("/")
    url = base_url.rstrip("/") or own
    if not url:
        raise ProviderInvalid(
            "provider `openai_compatible` needs a base_url ending in `/v1`",
            metadata={"provider": "openai_compatible"},
        )
    key = settings.openai_compatible_api_key if url == own else None
    return ProviderAccess(api_key=key or "", base_url=url)


def _never_called(url: str) -> bool:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        return True
    return not url.isascii() or refused_host(host) or not allowed_host(host, port)


def _local_access(base_url: str, settings: ServiceSettings) -> ProviderAccess:
    url = (base_url or settings.local_model_url).rstrip("/")
    if not url:
        raise ProviderNotConfigured(
            "provider `local` has no address; set BURNISH_LOCAL_MODEL_URL, or a base_url",
            metadata={"provider": "local", "variable": "BURNISH_LOCAL_MODEL_URL"},
        )
    return ProviderAccess(base_url=url if url.endswith("/v1") else f"{url}/v1")
