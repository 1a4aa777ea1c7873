"""Where the scoring endpoints are served, and what a request may spend, from the environment."""

from __future__ import annotations

from collections.abc import Mapping

from burnish.errors import InvalidArgument
from burnish_controller.http_api.server import ApiOptions
from burnish_runtime.settings import host_and_port

_LISTEN = "BURNISH_API_LISTEN"
_MAX_USD = "BURNISH_API_MAX_USD"
_LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class ApiMisconfigured(InvalidArgument):
    """A variable of the scoring endpoints that cannot be used."""

    default_reason = "API_MISCONFIGURED"


def api_listen(environ: Mapping[str, str], *, token: str | None) -> tuple[str, int] | None:
    """Reads BURNISH_API_LISTEN; None when the endpoints are not served.

    Raises:
        ApiMisconfigured: It is no address, or one that others reach while there is no token.
    """
    text = environ.get(_LISTEN, "").strip()
    if not text:
        return None
    try:
        host, port = host_and_port(text)
    except ValueError as error:
        raise ApiMisconfigured(f"{_LISTEN}: {error}; write it like 127.0.0.1:8081") from None
    if token is None and host not in _LOOPBACK:
        raise ApiMisconfigured(f"{_LISTEN}=`{text}` is open to others; set BURNISH_AUTH_TOKEN_FILE")
    return host, port


def api_options(environ: Mapping[str, str], *, token: str | None) -> ApiOptions:
    """Reads BURNISH_API_MAX_USD, most US dollars for one request; without it judges must be free.

    Raises:
        ApiMisconfigured: It is no finite number from 0.
    """
    text = environ.get(_MAX_USD, "").strip() or "0"
    try:
        usd = float(text)
    except ValueError:
        usd = -1.0
    if not 0 <= usd < float("inf"):
        raise ApiMisconfigured(f"{_MAX_USD}=`{text}` is no number of US dollars from 0")
    return ApiOptions(token=token, max_cost_usd=usd)
