"""Anthropic's Messages API."""

from __future__ import annotations

import json

from burnish.testing.providers.formats.base import Json, event
from burnish.testing.providers.formats.openai import ChatFormat
from burnish.testing.providers.replies import FakeReply


class AnthropicFormat(ChatFormat):
    """Anthropic's Messages API."""

    path = "/messages"

    def whole(self, reply: FakeReply, model: str) -> Json:
        """Returns a message."""
        content: list[Json] = [{"type": "text", "text": reply.text}] if reply.text else []
        content += [
            {
                "type": "tool_use",
                "id": f"toolu_{index}",
                "name": call.name,
                "input": json.loads(call.arguments),
            }
            for index, call in enumerate(reply.tool_calls)
        ]
        reasons = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}
        # What was read from the cache stands beside the tokens read here.
        return {
            "id": "msg_fake",
            "type": "message",
            "role": "assistant",
            "model": model,
            "content": content,
            "stop_reason": reasons.get(reply.finish_reason, reply.finish_reason),
            "stop_sequence": None,
            "usage": {
                "input_tokens": reply.read - reply.cached_input_tokens,
                "cache_read_input_tokens": reply.cached_input_tokens,
                "output_tokens": reply.written,
                **(
                    {"output_tokens_details": {"thinking_tokens": reply.reasoning_tokens}}
                    if reply.reasoning_tokens
                    else {}
                ),
            },
        }

    def events(self, reply: FakeReply, model: str) -> bytes:
        """Returns the events of a message."""
        whole = self.whole(reply, model)
        begun = {**whole, "content": [], "stop_reason": None}
        found: list[Json] = [{"type": "message_start", "message": begun}]
        for index, block in enumerate(whole["content"]):
            empty = {**block, **({"text": ""} if block["type"] == "text" else {"input": {}})}
            delta: Json = {"type": "text_delta", "text": reply.text}
            if block["type"] == "tool_use":
                delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
            found += [
                {"type": "content_block_start", "index": index, "content_block": empty},
                {"type": "content_block_delta", "index": index, "delta": delta},
                {"type": "content_block_stop", "index": index},
            ]
        end = {"stop_reason": whole["stop_reason"], "stop_sequence": None}
        found.append({"type": "message_delta", "delta": end, "usage": whole["usage"]})
        found.append({"type": "message_stop"})
        return b"".join(event(one, name=one["type"]) for one in found)

    def without_choices(self, reply: FakeReply, model: str) -> Json:
        """Returns a message without content."""
        return {**self.whole(reply, model), "content": []}

    def error(self, status: int, message: str, code: str) -> Json:
        """Returns an error of the Messages API."""
        return {"type": "error", "error": {"type": code, "message": message}}
