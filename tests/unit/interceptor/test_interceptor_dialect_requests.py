"""What leaves for the provider when a candidate is put in, whatever the API."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish_interceptor.dialects import BadRequest, Forced
from burnish_interceptor.dialects.chat import ChatRequest
from burnish_interceptor.dialects.completions import CompletionsRequest
from burnish_interceptor.dialects.embeddings import EmbeddingsRequest
from burnish_interceptor.dialects.responses import ResponsesRequest
from burnish_interceptor.policies.policy import Model
from burnish_interceptor.prompts.edit import NO_EDIT, PromptEdit

MODEL = Model(provider="openai", name="gpt-x")
FORCED = Forced(MODEL)
IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
DEMOS = (
    b'{"role":"user","content":"q"}',
    json.dumps({"role": "assistant", "content": None, "tool_calls": [CALL]}).encode(),
    b'{"role":"tool","tool_call_id":"call_1","content":"ok"}',
    b'{"role":"assistant","content":"a"}',
)


def dumps(body: Any) -> bytes:
    return json.dumps(body).encode()


def chat(*messages: Any, **more: Any) -> ChatRequest:
    return ChatRequest(dumps({"model": "m", "messages": list(messages), **more}))


def responses(**body: Any) -> ResponsesRequest:
    return ResponsesRequest(dumps({"model": "m", **body}))


def sent(request: Any, edit: PromptEdit = NO_EDIT, forced: Forced = FORCED) -> Any:
    return json.loads(request.rewritten(edit, forced).body)


def said(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


TEXT = st.text(st.sampled_from('ab"\\ \n{}é😀'), max_size=10)
CONTENT = TEXT | st.lists(
    st.one_of(st.just(IMAGE), TEXT.map(lambda text: {"type": "text", "text": text})), max_size=3
)
MESSAGE = st.builds(
    lambda role, content, more: {"role": role, "content": content, **more},
    st.sampled_from(["system", "developer", "user", "assistant"]),
    CONTENT,
    st.sampled_from([{}, {"name": "n"}, {"cache_control": {"type": "ephemeral"}}]),
)


@given(
    st.lists(MESSAGE, min_size=1, max_size=5),
    st.none() | TEXT,
    st.integers(0, 5),
    st.booleans(),
    st.sampled_from([None, (",", ":")]),
)
def test_an_edit_changes_what_it_names_and_nothing_else(messages, system, before, demos, form):
    body = {"model": "m", "x": 1.0, "messages": messages, "metadata": {"a": [1, {"b": 2}]}}
    request = ChatRequest(json.dumps(body, separators=form).encode())
    before = min(before, len(messages))
    edit = PromptEdit(system=system, demos=DEMOS if demos else (), demos_before=before)
    out = sent(request, edit)
    expected = [dict(one) for one in messages]
    put = [json.loads(demo) for demo in edit.demos]
    first = next((i for i, m in enumerate(messages) if m["role"] in ("system", "developer")), None)
    if system is not None and first is not None:
        expected[first]["content"] = changed(expected[first]["content"], system)
    expected[before:before] = put
    if system is not None and first is None:
        expected.insert(0, said("system", system))
    assert out["messages"] == expected
    assert (out["x"], out["metadata"], out["model"]) == (1.0, body["metadata"], "gpt-x")


def changed(content: Any, text: str) -> Any:
    """Returns a content with another text: the first text part's, the others gone."""
    if isinstance(content, str) or not content:
        return text
    part = {"type": "text", "text": text}
    texts = [i for i, one in enumerate(content) if one["type"] == "text"]
    if not texts:
        return [part, *content]
    kept = [part if i == texts[0] else one for i, one in enumerate(content)]
    return [one for i, one in enumerate(kept) if i not in texts[1:]]


def test_texts_of_any_message_are_replaced_and_images_stay():
    parts = [{"type": "text", "text": "a"}, IMAGE, {"type": "text", "text": "b"}]
    out = sent(chat(said("user", parts), said("user", "c")), PromptEdit(texts={0: "x", 1: "y"}))
    assert out["messages"] == [
        said("user", [{"type": "text", "text": "x"}, IMAGE]), said("user", "y"),
    ]  # fmt: skip


@pytest.mark.parametrize("field", ["messages", "model", "stream", "n", "max_tokens"])
def test_a_wrong_type_is_told(field):
    with pytest.raises(BadRequest, match=field):
        chat(said("user", "hi"), **{field: {"a": 1}})


def test_too_much_is_refused():
    with pytest.raises(BadRequest, match="2001"):
        chat(*[said("user", "x")] * 2001)
    with pytest.raises(BadRequest, match="129 tools"):
        chat(said("user", "x"), tools=[{}] * 129)


def test_a_name_said_twice_is_refused_before_anything_leaves():
    request = ChatRequest(b'{"model":"a","messages":[{"role":"user","content":"x"}],"model":"b"}')
    with pytest.raises(BadRequest, match="twice"):
        request.rewritten(NO_EDIT, FORCED)
    message = b'{"role":"system","name":"n","content":"x","content":"y"}'
    request = ChatRequest(b'{"messages":[' + message + b"]}")
    with pytest.raises(BadRequest, match="twice"):
        request.rewritten(PromptEdit(system="z"), FORCED)


def test_usage_is_not_asked_of_a_provider_that_cannot_tell_it():
    request = chat(said("user", "x"), stream=True, stream_options={"include_usage": True})
    assert "stream_options" not in sent(request, forced=Forced(MODEL, ask_usage=False))
    assert sent(request)["stream_options"] == {"include_usage": True}


# Responses.


def test_instructions_are_the_system_message_of_a_response():
    request = responses(instructions="old", input="where")
    assert request.messages == (("system", "old"), ("user", "where"))
    out = sent(request, PromptEdit(system="new"))
    assert (out["instructions"], out["input"], out["store"]) == ("new", "where", False)


def test_a_system_item_is_replaced_where_it_stands_else_instructions_are_added():
    items = [said("developer", "old"), said("user", "where")]
    out = sent(responses(input=items), PromptEdit(system="new"))
    assert out["input"] == [said("developer", "new"), said("user", "where")]
    assert "instructions" not in out
    out = sent(responses(input="where"), PromptEdit(system="new"))
    assert (out["instructions"], out["input"]) == ("new", "where")


def test_demos_become_items_before_the_question():
    items = [
        {"role": "user", "content": "q"},
        {"type": "function_call", "call_id": "call_1", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "call_1", "output": "ok"},
        {"role": "assistant", "content": "a"},
    ]
    edit = PromptEdit(demos=DEMOS, demos_before=1)
    text = responses(instructions="old", input="where")
    assert sent(text, edit)["input"] == [*items, said("user", "where")]
    listed = responses(instructions="old", input=[said("user", "where")])
    assert sent(listed, edit)["input"] == [*items, said("user", "where")]
    at_end = PromptEdit(demos=DEMOS, demos_before=2)
    assert sent(listed, at_end)["input"] == [said("user", "where"), *items]


def test_items_that_are_no_messages_have_the_role_of_their_maker_and_stay():
    items = [
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "where"}]},
        {"type": "reasoning", "id": "rs_1", "summary": []},
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "found"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
    ]
    request = responses(input=items)
    assert request.messages == (
        ("user", "where"), ("assistant", ""), ("assistant", ""), ("tool", "found"),
        ("assistant", ""),
    )  # fmt: skip
    out = sent(request, PromptEdit(texts={0: "there", 3: "lost"}))
    assert out["input"][0]["content"] == [{"type": "input_text", "text": "there"}]
    assert out["input"][1:3] == items[1:3]
    assert out["input"][3]["output"] == "lost"


@pytest.mark.parametrize("given", [None, "", [], [1], [{"type": "item_reference", "id": "x"}],
                                   [{"content": "x"}]])  # fmt: skip
def test_an_input_that_is_none_is_told(given):
    with pytest.raises(BadRequest, match="input"):
        responses(input=given)


def test_settings_of_a_response_are_forced():
    forced = Forced(Model(provider="openai", name="gpt-x", temperature=0.0, max_output_tokens=64))
    outgoing = responses(input="x", temperature=0.9, max_output_tokens=9, store=True).rewritten(
        NO_EDIT, forced
    )
    out = json.loads(outgoing.body)
    assert (out["model"], out["temperature"], out["max_output_tokens"]) == ("gpt-x", 0.0, 64)
    assert out["store"] is False
    assert outgoing.max_output_tokens == 64
    assert sent(responses(input="x"))["max_output_tokens"] == 4096


# Completions and embeddings.


def test_the_prompt_of_a_completion_is_one_user_message():
    request = CompletionsRequest(dumps({"model": "m", "prompt": "where", "n": 2, "best_of": 3}))
    assert request.messages == (("user", "where"),)
    outgoing = request.rewritten(NO_EDIT, FORCED)
    assert outgoing.max_output_tokens == 3 * 16
    demos = (b'{"role":"user","content":"q"}', b'{"role":"assistant","content":"a"}')
    out = sent(request, PromptEdit(system="new", texts={0: "there"}, demos=demos))
    assert out["prompt"] == "new\n\nq\n\na\n\nthere"


@pytest.mark.parametrize("prompt", [["a", "b"], [1, 2], [[1], [2]]])
def test_several_prompts_pass_and_cannot_be_rewritten(prompt):
    request = CompletionsRequest(dumps({"model": "m", "prompt": prompt, "max_tokens": 5}))
    count = len(prompt) if isinstance(prompt[0], str | list) else 1
    outgoing = request.rewritten(NO_EDIT, FORCED)
    assert outgoing.max_output_tokens == 5 * count
    assert json.loads(outgoing.body)["prompt"] == prompt
    with pytest.raises(BadRequest, match="one prompt"):
        request.rewritten(PromptEdit(system="new"), FORCED)


@pytest.mark.parametrize(
    "body", [{"prompt": "x", "echo": True}, {"prompt": ""}, {}, {"prompt": {"a": 1}}]
)
def test_a_completion_without_prompt_or_with_an_echo_is_refused(body):
    with pytest.raises(BadRequest):
        CompletionsRequest(dumps(body))


def test_embeddings_keep_every_byte_and_their_model():
    body = b'{ "model" : "text-embedding-x", "input": ["a", "b"], "dimensions": 8 }'
    outgoing = EmbeddingsRequest(body).rewritten(NO_EDIT, FORCED)
    assert (outgoing.body, outgoing.max_output_tokens) == (body, 0)
    assert (outgoing.model.name, outgoing.model.provider) == ("text-embedding-x", "openai")
    with pytest.raises(BadRequest):
        EmbeddingsRequest(body).rewritten(PromptEdit(system="x"), FORCED)


@pytest.mark.parametrize("body", [{}, {"model": "m"}, {"input": "x"}, {"model": 1, "input": "x"},
                                  {"model": "m", "input": ["a"] * 2049}])  # fmt: skip
def test_embeddings_of_nothing_are_refused(body):
    with pytest.raises(BadRequest):
        EmbeddingsRequest(dumps(body))


@pytest.mark.parametrize(
    "parse", [ChatRequest, ResponsesRequest, CompletionsRequest, EmbeddingsRequest]
)
@given(st.binary(max_size=60) | st.sampled_from([b"{}", b"[]", b"null", b'{"a":1}']))
def test_any_body_is_parsed_or_refused(parse, body):
    try:
        parse(body)
    except BadRequest:
        return
