"""Chat completions, as OpenAI, Groq and every compatible server write them, and responses."""

from __future__ import annotations

from burnish.testing.providers.formats.base import CREATED, Asked, Json, event
from burnish.testing.providers.replies import FakeReply

_DONE = b"data: [DONE]\n\n"


class ChatFormat:
    """Chat completions: OpenAI, Groq and every compatible server."""

    path = "/chat/completions"

    def model(self, asked: Asked) -> str:
        """Returns the model that is asked."""
        return str(asked.fields.get("model", ""))

    def streams(self, asked: Asked) -> bool:
        """Tells whether events are asked for."""
        return asked.fields.get("stream") is True

    def whole(self, reply: FakeReply, model: str) -> Json:
        """Returns a chat completion."""
        message: Json = {"role": "assistant", "content": reply.text or None}
        if reply.tool_calls:
            message["tool_calls"] = _chat_calls(reply)
        choice: Json = {"index": 0, "message": message, "finish_reason": reply.finish_reason}
        return {
            "id": "chatcmpl-fake",
            "object": "chat.completion",
            "created": CREATED,
            "model": model,
            "choices": [choice],
            "usage": _chat_usage(reply),
        }

    def events(self, reply: FakeReply, model: str) -> bytes:
        """Returns the chunks of a chat completion, its usage last."""
        half = len(reply.text) // 2
        deltas: list[Json] = [{"role": "assistant", "content": ""}]
        deltas += [{"content": part} for part in (reply.text[:half], reply.text[half:]) if part]
        deltas += [
            {"tool_calls": [{"index": index, **call}]}
            for index, call in enumerate(_chat_calls(reply))
        ]
        choices: list[list[Json]] = [
            [{"index": 0, "delta": delta, "finish_reason": None}] for delta in deltas
        ]
        choices.append([{"index": 0, "delta": {}, "finish_reason": reply.finish_reason}])
        head: Json = {"id": "chatcmpl-fake", "object": "chat.completion.chunk", "created": CREATED}
        pieces = [event({**head, "model": model, "choices": choice}) for choice in choices]
        usage = event({**head, "model": model, "choices": [], "usage": _chat_usage(reply)})
        return b"".join(pieces) + usage + _DONE

    def without_choices(self, reply: FakeReply, model: str) -> Json:
        """Returns a chat completion without a choice."""
        return {**self.whole(reply, model), "choices": []}

    def error(self, status: int, message: str, code: str) -> Json:
        """Returns an error of chat completions."""
        return {"error": {"message": message, "type": code, "param": None, "code": code}}


class ResponsesFormat(ChatFormat):
    """OpenAI's Responses API."""

    path = "/responses"

    def whole(self, reply: FakeReply, model: str) -> Json:
        """Returns a response."""
        cut = reply.finish_reason == "length"
        return {
            "id": "resp_fake",
            "object": "response",
            "created_at": CREATED,
            "status": "incomplete" if cut else "completed",
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "error": None,
            "model": model,
            "output": _items(reply),
            "usage": {
                "input_tokens": reply.read,
                "input_tokens_details": {"cached_tokens": reply.cached_input_tokens},
                "output_tokens": reply.written,
                "output_tokens_details": {"reasoning_tokens": reply.reasoning_tokens},
                "total_tokens": reply.read + reply.written,
            },
        }

    def events(self, reply: FakeReply, model: str) -> bytes:
        """Returns the events of a response."""
        whole = self.whole(reply, model)
        begun = {**whole, "status": "in_progress", "output": [], "usage": None}
        found: list[Json] = [{"type": "response.created", "response": begun}]
        for index, item in enumerate(whole["output"]):
            place = {"output_index": index}
            found.append({"type": "response.output_item.added", **place, "item": item})
            if item["type"] == "message":
                said = {"item_id": item["id"], **place, "content_index": 0}
                found.append({"type": "response.output_text.delta", **said, "delta": reply.text})
            found.append({"type": "response.output_item.done", **place, "item": item})
        found.append({"type": "response.completed", "response": whole})
        return b"".join(
            event({**one, "sequence_number": number}, name=one["type"])
            for number, one in enumerate(found)
        )

    def without_choices(self, reply: FakeReply, model: str) -> Json:
        """Returns a response without output."""
        return {**self.whole(reply, model), "output": []}


def _chat_calls(reply: FakeReply) -> list[Json]:
    return [
        {
            "id": f"call_{index}",
            "type": "function",
            "function": {"name": call.name, "arguments": call.arguments},
        }
        for index, call in enumerate(reply.tool_calls)
    ]


def _chat_usage(reply: FakeReply) -> Json:
    return {
        "prompt_tokens": reply.read,
        "completion_tokens": reply.written,
        "total_tokens": reply.read + reply.written,
        "prompt_tokens_details": {"cached_tokens": reply.cached_input_tokens},
        "completion_tokens_details": {"reasoning_tokens": reply.reasoning_tokens},
    }


def _items(reply: FakeReply) -> list[Json]:
    items: list[Json] = [{"id": "rs_fake", "type": "reasoning", "summary": []}]
    if reply.text:
        said = {"type": "output_text", "text": reply.text, "annotations": []}
        items.append(
            {
                "id": "msg_fake",
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [said],
            }
        )
    items += [
        {
            "id": f"fc_{index}",
            "type": "function_call",
            "call_id": f"call_{index}",
            "name": call.name,
            "arguments": call.arguments,
            "status": "completed",
        }
        for index, call in enumerate(reply.tool_calls)
    ]
    return items
