"""A request's body: parsed once for reading, and found again in its bytes for splicing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from burnish_interceptor.dialects import splice
from burnish_interceptor.dialects.dialect import BadRequest, Forced
from burnish_interceptor.dialects.splice import Edit, Scan, Span

Json = Any
Changes = dict[str, bytes | None]
MAX_MESSAGES = 2000
MAX_TOOLS = 128
DEFAULT_OUTPUT_TOKENS = 4096


class Body:
    """A JSON object as an app sent it.

    Attributes:
        raw: The bytes.
        data: What the parser made of them.
    """

    __slots__ = ("_listed", "_scan", "data", "raw")

    def __init__(self, raw: bytes, *, listed: str = "") -> None:
        """Parses a body.

        Args:
            raw: The bytes.
            listed: Name of the member whose items may be changed.

        Raises:
            BadRequest: It is no JSON object, or has too many tools.
        """
        try:
            data = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise BadRequest(f"the body is not JSON (at byte {error.pos})") from None
        if type(data) is not dict:
            raise BadRequest("the body is not a JSON object")
        tools = data.get("tools")
        if type(tools) is list and len(tools) > MAX_TOOLS:
            raise BadRequest(f"{len(tools)} tools are over the limit of {MAX_TOOLS}")
        self.raw = raw
        self.data: dict[str, Json] = data
        self._listed = listed
        self._scan: Scan | None = None

    @property
    def scan(self) -> Scan:
        """Where its members stand.

        Raises:
            BadRequest: It repeats a name.
        """
        if self._scan is None:
            try:
                self._scan = splice.scan(self.raw, self.data, listed=self._listed)
            except splice.Repeated:
                raise BadRequest("the body names the same field twice") from None
        return self._scan

    def items(self) -> Sequence[Span]:
        """Returns where the items of the listed member stand; none when it is no list."""
        return self.scan.items.get(self._listed, ())

    def changed(self, changes: Changes, edits: Sequence[Edit] = ()) -> bytes:
        """Returns the bytes with members changed, and further edits made.

        Args:
            changes: New value as JSON by name; None removes.
            edits: Of parts that `changes` does not name.

        Raises:
            BadRequest: It repeats a name.
        """
        found = splice.changes(self.raw, self.scan.members, changes)
        return splice.spliced(self.raw, [*found, *edits])

    def typed(self, name: str, kind: type) -> Json:
        """Returns a member, or None when it is missing or null.

        Raises:
            BadRequest: It has another type.
        """
        value = self.data.get(name)
        if value is None:
            return None
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise BadRequest(f"`{name}` has the wrong type; it has to be a {kind.__name__}")
        return value

    def count(self, name: str) -> int:
        """Returns how many answers are asked for, at least 1."""
        return max(1, self.typed(name, int) or 1)

    def settings(self, forced: Forced, *, refused: frozenset[str]) -> Changes:
        """Returns the changes that every call is given: what is forced, and what is taken away."""
        changes = forced.settings.copy()
        if not refused.isdisjoint(self.data):
            changes |= dict.fromkeys(refused.intersection(self.data))
        return changes

    @property
    def wants_usage(self) -> bool:
        """Whether the app asks for usage in the stream."""
        options = self.data.get("stream_options")
        return isinstance(options, dict) and options.get("include_usage") is True

    def ask_usage(self, forced: Forced, changes: Changes) -> None:
        """Has the provider tell the usage of a stream, where it can, beside the app's options.

        Raises:
            BadRequest: The options are nested too deeply.
        """
        if not forced.ask_usage:
            changes["stream_options"] = None
        elif not self.wants_usage:
            options = self.data.get("stream_options")
            options = options if isinstance(options, dict) else {}
            new = written(options | {"include_usage": True}, "`stream_options`")
            changes["stream_options"] = new


def written(value: Json, what: str) -> bytes:
    """Returns what an app sent as JSON again.

    Args:
        value: What a parser made of it.
        what: What the app is told that it is.

    Raises:
        BadRequest: It is nested deeper than can be written, which is less than can be read.
    """
    try:
        return orjson.dumps(value)
    except TypeError:
        raise BadRequest(f"{what} is nested too deeply") from None


def text_of(content: object) -> str:
    """Returns the text of a message's content: the string, or its text parts joined."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [part.get("text") for part in content if isinstance(part, dict)]
    return "".join(text for text in texts if isinstance(text, str))


def with_text(message: Mapping[str, Json], raw: bytes, *, name: str, kind: str, text: str) -> bytes:
    """Returns a message with another text; all else keeps its bytes.

    Args:
        message: The message, parsed.
        raw: The same as it was sent.
        name: Member that holds its content.
        kind: `type` of a text part, where the content is a list of parts.
        text: The new text, put in place of the first text part.

    Raises:
        BadRequest: The message repeats a name.
    """
    try:
        scan = splice.scan(raw, message, listed=name)
    except splice.Repeated:
        raise BadRequest("a message names the same field twice") from None
    content = message.get(name)
    new = orjson.dumps(text)
    if isinstance(content, list) and content:
        part = b'{"type":"%b","text":%b}' % (kind.encode(), new)
        kept = []
        written = False
        for one, (start, end) in zip(content, scan.items[name], strict=True):
            if not isinstance(one, dict) or not isinstance(one.get("text"), str):
                kept.append(raw[start:end])
            elif not written:
                kept.append(part)
                written = True
        new = b"[" + b",".join(kept if written else [part, *kept]) + b"]"
    return splice.spliced(raw, splice.changes(raw, scan.members, {name: new}))


def inserted(items: Sequence[Span], index: int, new: Sequence[bytes]) -> Edit:
    """Returns the edit that puts items before one of a list that is not empty, or at its end."""
    if index < len(items):
        start = items[index][0]
        return start, start, b",".join(new) + b","
    end = items[-1][1]
    return end, end, b"," + b",".join(new)
