"""Calls that repeat an earlier one but for what the user said, served without parsing them anew.

An app sends the same prompt and settings again and again; only the text of the last user message
differs. When a body was parsed and rewritten once, the bytes around that text are known on both
sides. A later body with the same bytes around another JSON string is the same call with another
text, and what leaves is the same with that string in its place. Each such form is tried out with a
text of our own before it is used, so nothing here has to know how a dialect rewrites.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import orjson

from burnish_interceptor.dialects import AppRequest, BadRequest, Forced
from burnish_interceptor.policies.policy import Stage
from burnish_interceptor.prompts.edit import Message, PromptEdit

Parse = Callable[[bytes], AppRequest]
Raw = bytes | memoryview
_MAX_FORMS = 8
_MAX_WAYS = 8
# What repeats is kept for every form and way, so it has to be small; what the user says need not.
_MAX_FIXED = 32 * 1024
_MAX_BODY = 256 * 1024
_LONG = 4 * 1024
# Stands in for what a user says. Where a body holds it anyway the body is parsed, as any other.
TEXT = "What the user says stands here, and nowhere else in this request."
_MARK = orjson.dumps(TEXT)


class Sure:
    """What every call of a form is, whatever the user says.

    Attributes:
        stage: Its stage.
        name: Wildcard that stands for all that the user says.
        fixed: Values of the other wildcards.
    """

    __slots__ = ("fixed", "name", "stage")

    def __init__(self, stage: Stage, name: str, fixed: Mapping[str, str]) -> None:
        self.stage = stage
        self.name = name
        self.fixed = fixed


class Form:
    """Bodies that differ only in the text of the last user message.

    Attributes:
        request: The first of them, parsed.
        at: Place of the message that differs.
        sure: What they all are; None when that depends on what the user says.
        sent: Whatever its user keeps of those that were sent, by a key of its own.
    """

    __slots__ = (
        "_after",
        "_before",
        "_fixed",
        "_messages",
        "_start",
        "_ways",
        "at",
        "request",
        "sent",
        "sure",
    )

    def __init__(self, before: bytes, after: bytes, request: AppRequest, at: int) -> None:
        self._before = before
        self._after = after
        self._start = len(before)
        self._fixed = len(before) + len(after)
        self._ways: dict[tuple[int, int], Way] = {}
        self.request = request
        self._messages = tuple(request.messages)
        self.at = at
        self.sure: Sure | None = None
        self.sent: dict[int, object] = {}

    def messages(self, text: str) -> list[Message]:
        """Returns the conversation with what the user says."""
        messages = list(self._messages)
        messages[self.at] = Message(messages[self.at].role, text)
        return messages

    def read(self, body: bytes) -> tuple[Form, Raw, str] | None:
        """Returns itself and the differing string, raw and parsed; None for another form's body."""
        if not body.startswith(self._before) or not body.endswith(self._after):
            return None
        size = len(body) - self._fixed
        # A short piece is copied in less time than a view of it takes.
        start, whole = self._start, body if size < _LONG else memoryview(body)
        raw = whole[start : start + size]
        try:
            text = orjson.loads(raw)
        except orjson.JSONDecodeError:
            return None
        return (self, raw, text) if type(text) is str else None

    def way(self, edit: PromptEdit, forced: Forced) -> Way | None:
        """Returns what is known of an edit that this form was seen with before."""
        way = self._ways.get((id(edit), id(forced)))
        return way if way is not None and way.edit is edit and way.forced is forced else None

    def keep(self, way: Way) -> None:
        """Keeps what is known of an edit."""
        if len(self._ways) >= _MAX_WAYS:
            self._ways.clear()
        self._ways[id(way.edit), id(way.forced)] = way

    def filled(self, raw: bytes) -> bytes:
        """Returns a body of this form."""
        return b"%b%b%b" % (self._before, raw, self._after)


class Way:
    """How bodies of a form leave with one edit.

    Attributes:
        edit: The edit, kept so that its identity means something.
        forced: The settings, likewise.
        around: The bytes before and after the differing string; None when they cannot be told.
        tried: Whether that was found out yet.
    """

    __slots__ = ("around", "edit", "forced", "tried")

    def __init__(self, edit: PromptEdit, forced: Forced) -> None:
        self.edit = edit
        self.forced = forced
        self.around: tuple[bytes, bytes] | None = None
        self.tried = False


class Repeats:
    """The forms of one policy's calls of one API; the least used of too many are forgotten."""

    def __init__(self, parse: Parse) -> None:
        """Knows none yet; `parse` reads a body of the API."""
        self._parse = parse
        self._forms: list[Form] = []
        self._misses = 0
        self._patience = 1

    def find(self, body: bytes) -> tuple[Form, Raw, str] | None:
        """Returns the form of a body and the differing string, raw and parsed, or None."""
        forms = self._forms
        for form in forms:
            found = form.read(body)
            if found is not None:
                if form is not forms[0]:
                    forms.remove(form)
                    forms.insert(0, form)
                self._misses, self._patience = 0, 1
                return found
        return None

    def missed(self, request: AppRequest) -> Form | None:
        """Returns a new form for a body that had none, or None when it is not worth trying.

        Bodies that never repeat are tried ever more seldom, so that they cost next to nothing.
        """
        self._misses += 1
        if self._misses < self._patience or len(request.body) > _MAX_BODY:
            return None
        self._misses = 0
        self._patience *= 2
        form = self._form(request)
        if form is not None:
            self._forms.insert(0, form)
            del self._forms[_MAX_FORMS:]
        return form

    def around(self, form: Form, edit: PromptEdit, forced: Forced) -> tuple[bytes, bytes] | None:
        """Returns what stands around the string when a body of a form leaves, if that is known.

        An edit is tried out when it is met again: one made for a single call is never worth it.
        """
        way = form.way(edit, forced)
        if way is None:
            form.keep(Way(edit, forced))
            return None
        if not way.tried:
            way.tried = True
            way.around = self._around(form, edit, forced)
        return way.around

    def _around(self, form: Form, edit: PromptEdit, forced: Forced) -> tuple[bytes, bytes] | None:
        try:
            left = self._parse(form.filled(_MARK)).rewritten(edit, forced).body
        except BadRequest:
            return None
        before, found, after = left.partition(_MARK)
        return (before, after) if found and _MARK not in after else None

    def _form(self, request: AppRequest) -> Form | None:
        messages = request.messages
        at = next((i for i in range(len(messages) - 1, -1, -1) if messages[i].role == "user"), None)
        if at is None:
            return None
        text, body = messages[at].text, request.body
        for raw in (orjson.dumps(text), json.dumps(text).encode()):
            start = body.rfind(raw)
            if start < 0:
                continue
            if len(body) - len(raw) > _MAX_FIXED:
                return None
            form = Form(body[:start], body[start + len(raw) :], request, at)
            if self._stands(form):
                return form
        return None

    def _stands(self, form: Form) -> bool:
        """Tells whether a form's string is the whole text of its message, and nothing else."""
        try:
            tried = self._parse(form.filled(_MARK))
        except BadRequest:
            return False
        same = (tried.model, tried.stream) == (form.request.model, form.request.stream)
        return same and list(tried.messages) == form.messages(TEXT)
