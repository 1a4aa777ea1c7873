"""Google's own API, `generateContent`."""

from __future__ import annotations

import json

from burnish.testing.providers.formats.base import Asked, Json, event
from burnish.testing.providers.replies import FakeReply


class GeminiFormat:
    """Google's own API."""

    path = "enerateContent"

    def model(self, asked: Asked) -> str:
        """Returns the model that is asked, which stands in the path."""
        return asked.target.rpartition("/models/")[2].partition(":")[0]

    def streams(self, asked: Asked) -> bool:
        """Tells whether events are asked for."""
        return ":streamGenerateContent" in asked.target

    def whole(self, reply: FakeReply, model: str) -> Json:
        """Returns a reply of `generateContent`."""
        parts: list[Json] = [{"text": reply.text}] if reply.text else []
        parts += [
            {"functionCall": {"name": call.name, "args": json.loads(call.arguments)}}
            for call in reply.tool_calls
        ]
        content: Json = {"role": "model"}
        if parts:
            content["parts"] = parts
        reason = "MAX_TOKENS" if reply.finish_reason == "length" else "STOP"
        # Thoughts stand beside the tokens of the answer here, where others count them in.
        usage: Json = {
            "promptTokenCount": reply.read,
            "candidatesTokenCount": reply.written - reply.reasoning_tokens,
            "totalTokenCount": reply.read + reply.written,
        }
        if reply.reasoning_tokens:
            usage["thoughtsTokenCount"] = reply.reasoning_tokens
        if reply.cached_input_tokens:
            usage["cachedContentTokenCount"] = reply.cached_input_tokens
        return {
            "candidates": [{"content": content, "finishReason": reason, "index": 0}],
            "usageMetadata": usage,
            "modelVersion": model,
            "responseId": "fake",
        }

    def events(self, reply: FakeReply, model: str) -> bytes:
        """Returns the pieces of a reply; all but the last lack a reason to finish."""
        last = self.whole(reply, model)
        (candidate,) = last["candidates"]
        first = {"candidates": [{"content": candidate["content"], "index": 0}]}
        last["candidates"] = [{**candidate, "content": {"role": "model"}}]
        return (event(first) if reply.text or reply.tool_calls else b"") + event(last)

    def without_choices(self, reply: FakeReply, model: str) -> Json:
        """Returns a reply without a candidate."""
        return {**self.whole(reply, model), "candidates": []}

    def error(self, status: int, message: str, code: str) -> Json:
        """Returns an error of Google's APIs."""
        return {"error": {"code": status, "message": message, "status": code.upper()}}
