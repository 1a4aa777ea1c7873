"""The forms of an inference URL, and the one chat address that each of them means.

Backends hand out a base, a base with `/v1`, a finished chat address, or one of these with a query;
some clients glue the path behind the query. `chat_url` undoes all of that.
"""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit

from burnish.errors import InvalidArgument

_TAIL = "/chat/completions"


class InferenceUrlInvalid(InvalidArgument):
    """An inference URL that no model call can be made to. Do not retry."""

    default_reason = "INFERENCE_URL_INVALID"


def chat_url(inference_url: str) -> str:
    """Returns the address to post chat completions to; its query is kept.

    Raises:
        InferenceUrlInvalid: The URL is not an absolute http or https URL.
    """
    parts = urlsplit(inference_url.strip())
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise InferenceUrlInvalid(
            f"inference URL has scheme {parts.scheme!r} and "
            f"{'a' if parts.hostname else 'no'} host; give an absolute http or https URL"
        )
    query = parts.query.partition("/")[0]
    path = parts.path.rstrip("/")
    if path.endswith(_TAIL):
        pass
    elif path.endswith("/chat"):
        path += "/completions"
    elif path.endswith("/v1") or "/v1/" in path:
        path += _TAIL
    else:
        path += "/v1" + _TAIL
    return urlunsplit((parts.scheme, parts.netloc, path, query, ""))


def client_base(inference_url: str) -> tuple[str, dict[str, str]]:
    """Returns the base URL and the query parameters for an OpenAI client.

    Raises:
        InferenceUrlInvalid: The URL is not an absolute http or https URL.
    """
    parts = urlsplit(chat_url(inference_url))
    base = urlunsplit((parts.scheme, parts.netloc, parts.path.removesuffix(_TAIL), "", ""))
    pairs = (pair.partition("=") for pair in parts.query.split("&") if pair)
    return base, {name: value for name, _, value in pairs}
