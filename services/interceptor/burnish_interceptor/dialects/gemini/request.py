"""A chat completion asked for in the words of `generateContent`.

What has no counterpart there and would change the answer is refused; what only advises is dropped.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from burnish_interceptor.dialects.body import text_of, written
from burnish_interceptor.dialects.dialect import BadRequest
from burnish_interceptor.dialects.gemini import signatures

Json = Any
_SYSTEM = frozenset({"system", "developer"})
_REFUSED = ("audio", "function_call", "functions", "logit_bias", "web_search_options")
_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+);base64,([A-Za-z0-9+/=]+)")
_AUDIO = {"wav": "audio/wav", "mp3": "audio/mp3"}
_IMAGES = {"png": "image/png", "gif": "image/gif", "webp": "image/webp"}
_MODES = {"none": "NONE", "auto": "AUTO", "required": "ANY"}
_BUDGETS = {"none": 0, "minimal": 1024, "low": 1024, "medium": 8192, "high": 24576}
_PLAIN = {
    "temperature": "temperature",
    "top_p": "topP",
    "n": "candidateCount",
    "seed": "seed",
    "presence_penalty": "presencePenalty",
    "frequency_penalty": "frequencyPenalty",
    "logprobs": "responseLogprobs",
    "top_logprobs": "logprobs",
}


def translated(body: bytes, model: str) -> bytes:
    """Returns a chat completion's body as one of `generateContent`.

    Args:
        body: A chat completion that was parsed before.
        model: Google's id of the model.

    Raises:
        BadRequest: It asks for what cannot be said, or is nested too deeply.
    """
    data = orjson.loads(body)
    for name in _REFUSED:
        if data.get(name):
            raise BadRequest(f"`{name}` cannot be translated for this provider; leave it out")
    messages = data["messages"]
    asked: dict[str, Json] = {"contents": _contents(messages, signed=not signatures.needed(model))}
    system = [{"text": text_of(one.get("content"))} for one in messages if one["role"] in _SYSTEM]
    if system:
        asked["systemInstruction"] = {"parts": system}
    if config := _config(data, model):
        asked["generationConfig"] = config
    if tools := _list(data.get("tools"), "tools"):
        asked["tools"] = [{"functionDeclarations": [_declaration(tool) for tool in tools]}]
    if (choice := data.get("tool_choice")) is not None:
        asked["toolConfig"] = {"functionCallingConfig": _choice(choice)}
    return written(asked, "the body")


def _contents(messages: Sequence[Mapping[str, Json]], *, signed: bool) -> list[Json]:
    names: dict[str, str] = {}
    found: list[Json] = []
    for message in messages:
        role = message["role"]
        if role in _SYSTEM:
            continue
        if role in ("tool", "function"):
            told, parts = "user", [_result(message, names)]
        elif role == "assistant":
            told, parts = "model", _said(message, names, signed=signed)
        else:
            told, parts = "user", _parts(message.get("content"))
        if found and found[-1]["role"] == told:
            found[-1]["parts"] += parts
        else:
            found.append({"role": told, "parts": parts})
    return found


def _said(
    message: Mapping[str, Json], names: dict[str, str], *, signed: bool
) -> list[dict[str, Json]]:
    parts = _parts(message["content"]) if message.get("content") else []
    for place, one in enumerate(_list(message.get("tool_calls"), "tool_calls")):
        call = _members(one, f"tool_calls[{place}]")
        function = _members(call.get("function"), f"tool_calls[{place}].function")
        name = function.get("name", "")
        call_id = _name(call.get("id"), f"tool_calls[{place}].id")
        names[call_id] = name
        part: dict[str, Json] = {
            "functionCall": {
                "id": call_id,
                "name": name,
                "args": _object(function.get("arguments")),
            }
        }
        if place == 0 and not signed:
            part["thoughtSignature"] = signatures.UNSIGNED
        parts.append(part)
    return parts or [{"text": ""}]


def _result(message: Mapping[str, Json], names: Mapping[str, str]) -> dict[str, Json]:
    call_id = _name(message.get("tool_call_id"), "tool_call_id")
    text = text_of(message.get("content"))
    result = _object(text, other="output")
    name = names.get(call_id) or message.get("name", "")
    return {"functionResponse": {"id": call_id, "name": name, "response": result}}


def _object(text: Json, *, other: str = "arguments") -> dict[str, Json]:
    """Returns a JSON object, or one that holds the text under a name."""
    try:
        value = orjson.loads(text or "{}")
    except (orjson.JSONDecodeError, TypeError):
        return {other: text}
    return value if isinstance(value, dict) else {other: value}


def _parts(content: Json) -> list[dict[str, Json]]:
    if isinstance(content, str):
        return [{"text": content}]
    if not isinstance(content, list):
        return [{"text": ""}]
    return [_part(part) for part in content]


def _part(part: Json) -> dict[str, Json]:
    kind = part.get("type") if isinstance(part, dict) else None
    if not isinstance(kind, str):
        raise BadRequest("a content part names no type")
    if kind in ("text", "refusal"):
        return {"text": part.get("text") or part.get("refusal") or ""}
    if kind == "image_url":
        url = part.get("image_url")
        return _file(url.get("url") if isinstance(url, dict) else url)
    if kind == "input_audio":
        audio = _members(part.get("input_audio"), "input_audio")
        mime_type = _AUDIO.get(_name(audio.get("format"), "input_audio.format"), "audio/wav")
        return {"inlineData": {"mimeType": mime_type, "data": audio.get("data", "")}}
    if kind == "file" and (data := _members(part.get("file"), "file").get("file_data")):
        return _file(data)
    raise BadRequest(f"a content part of type `{kind}` cannot be translated for this provider")


def _file(url: Json) -> dict[str, Json]:
    if not isinstance(url, str):
        raise BadRequest("a content part names no URL")
    inline = _DATA_URL.fullmatch(url)
    if inline is not None:
        return {"inlineData": {"mimeType": inline[1], "data": inline[2]}}
    suffix = url.partition("?")[0].rpartition(".")[2].lower()
    return {"fileData": {"fileUri": url, "mimeType": _IMAGES.get(suffix, "image/jpeg")}}


def _config(data: Mapping[str, Json], model: str) -> dict[str, Json]:
    config = {theirs: data[ours] for ours, theirs in _PLAIN.items() if data.get(ours) is not None}
    limit = data.get("max_completion_tokens") or data.get("max_tokens")
    if limit:
        config["maxOutputTokens"] = limit
    if stop := data.get("stop"):
        config["stopSequences"] = [stop] if isinstance(stop, str) else stop
    form = data.get("response_format")
    kind = form.get("type") if isinstance(form, dict) else None
    if kind in ("json_object", "json_schema"):
        config["responseMimeType"] = "application/json"
    if isinstance(form, dict) and kind == "json_schema":
        schema = _members(form.get("json_schema"), "response_format.json_schema")
        config["responseJsonSchema"] = schema.get("schema")
    effort = data.get("reasoning_effort")
    if isinstance(effort, str) and effort in _BUDGETS:
        config["thinkingConfig"] = (
            {"thinkingLevel": "low" if effort == "none" else effort}
            if signatures.needed(model)
            else {"thinkingBudget": _BUDGETS[effort]}
        )
    return config


def _declaration(tool: Json) -> dict[str, Json]:
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict):
        raise BadRequest("a tool that is no function cannot be translated for this provider")
    declared = {name: function[name] for name in ("name", "description") if function.get(name)}
    if function.get("parameters"):
        declared["parametersJsonSchema"] = function["parameters"]
    return declared


def _choice(choice: Json) -> dict[str, Json]:
    if isinstance(choice, str):
        return {"mode": _MODES.get(choice, "AUTO")}
    chosen = choice.get("function") if isinstance(choice, dict) else None
    name = _members(chosen, "tool_choice.function").get("name")
    if not name:
        raise BadRequest("this `tool_choice` cannot be translated for this provider")
    return {"mode": "ANY", "allowedFunctionNames": [name]}


def _list(value: Json, place: str) -> Sequence[Json]:
    """Returns a list; none for what is not given."""
    if value is None:
        return ()
    if not isinstance(value, list):
        raise BadRequest(f"`{place}` has the wrong type; it has to be a list")
    return value


def _members(value: Json, place: str) -> Mapping[str, Json]:
    """Returns an object's members; none for what is not given."""
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise BadRequest(f"`{place}` has the wrong type; it has to be an object")
    return value


def _name(value: Json, place: str) -> str:
    """Returns a text; an empty one for what is not given."""
    if value is None:
        return ""
    if not isinstance(value, str):
        raise BadRequest(f"`{place}` has the wrong type; it has to be a string")
    return value
