"""A chat completion of the app's that is made by `generateContent`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar
from urllib.parse import quote

from burnish_interceptor.dialects import sse
from burnish_interceptor.dialects.chat import ChatRequest
from burnish_interceptor.dialects.chat_reply import ChatStream
from burnish_interceptor.dialects.dialect import Forced, Outgoing, Shown, Tokens
from burnish_interceptor.dialects.gemini import reply, request
from burnish_interceptor.dialects.stream import AnswerStream
from burnish_interceptor.dialects.usage import UsageRule
from burnish_interceptor.prompts.edit import Message, PromptEdit


class GeminiRequest:
    """A chat completion in the app's words, with the provider's path, body and answers.

    Attributes:
        api: Name of the API in metrics and traces.
        conversational: Whether there is a conversation.
        path: Where the model's answers stand below the base URL.
        body: The bytes as they came.
        messages: Role and text of each message.
        model: Model that the app names, or empty.
        stream: Whether the app wants events.
    """

    api: ClassVar[str] = "chat_completions"
    conversational: ClassVar[bool] = True
    __slots__ = ("_chat", "_name", "body", "messages", "model", "path", "stream")

    def __init__(self, chat: ChatRequest, model: str) -> None:
        """Takes the app's call, and Google's id of the model that it goes to."""
        self._chat = chat
        self._name = model.removeprefix("models/")
        verb = "streamGenerateContent?alt=sse" if chat.stream else "generateContent"
        self.path = f"/models/{quote(self._name, safe='')}:{verb}"
        self.body = chat.body
        self.messages: Sequence[Message] = chat.messages
        self.model = chat.model
        self.stream = chat.stream

    def rewritten(self, edit: PromptEdit, forced: Forced) -> Outgoing:
        """Returns the call for the provider, in its own words.

        Raises:
            BadRequest: It asks for what cannot be said.
        """
        outgoing = self._chat.rewritten(edit, forced)
        return outgoing._replace(body=request.translated(outgoing.body, self._name))

    def answer(self, body: bytes, shown: Shown) -> tuple[bytes, Tokens | None]:
        """Returns a whole answer for the app, and the provider's tokens in and out."""
        return self._chat.answer(reply.completion(body), shown)

    def events(self, shown: Shown) -> AnswerStream:
        """Returns what turns the provider's events into the app's."""
        return _GeminiStream(
            model=shown.model, choices=self._chat.choices, usage=self._chat.stream_usage(shown)
        )


class _GeminiStream(ChatStream):
    """The answer is over with the piece in which its last choice finishes."""

    def __init__(self, *, model: str, choices: int, usage: UsageRule | None) -> None:
        super().__init__(model=model, choices=choices, usage=usage)
        self._pieces = reply.Pieces(choices=choices)

    def _event(self, data: bytes) -> bytes | None:
        if data == sse.DONE:
            return None
        shown = [super(_GeminiStream, self)._event(one) for one in self._pieces.events(data)]
        return b"".join(one for one in shown if one is not None) or None
