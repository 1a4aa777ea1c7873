"""What leaves for the provider, byte by byte."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish import templates
from burnish_interceptor.dialects import BadRequest, Forced
from burnish_interceptor.dialects.body import DEFAULT_OUTPUT_TOKENS
from burnish_interceptor.dialects.chat import ChatRequest
from burnish_interceptor.policies.policy import (
    Demo,
    MessagePattern,
    Mode,
    Model,
    Stage,
    StagePrompt,
)
from burnish_interceptor.prompts import substitute


def stage(
    *, mode=Mode.SYSTEM, system="Classify.", user="Labels: a, b\nQuery: {query}", **model
) -> Any:
    return Stage(
        stage_id="s",
        messages=(
            MessagePattern(role="system", pattern=templates.parse(system)),
            MessagePattern(role="user", pattern=templates.parse(user)),
        ),
        optional=frozenset(),
        mode=mode,
        model=Model(**{"provider": "openai", "name": "gpt-x"} | model),
        optimised=True,
    )


def request(body) -> Any:
    return ChatRequest.parse(body if isinstance(body, bytes) else json.dumps(body).encode())


def chat(*messages, **more) -> Any:
    return request(
        {"model": "m", "messages": [{"role": r, "content": c} for r, c in messages], **more}
    )


def put_on(req, *, demos=(), text="Better.", **stage_settings) -> Any:
    prompt = StagePrompt(instruction=text, demos=tuple(demos))
    where = stage(**stage_settings)
    made = substitute.edited(req.messages, stage=where, prompt=prompt)
    return req.rewritten(made.edit, Forced(model=where.model))


def contents(outgoing) -> Any:
    return [(m["role"], m.get("content")) for m in json.loads(outgoing.body)["messages"]]


USER = ("user", "Labels: a, b\nQuery: where")


def test_the_system_message_is_replaced_in_place():
    out = put_on(chat(("system", "Classify."), USER))
    assert contents(out) == [("system", "Better."), USER]


def test_a_missing_system_message_is_put_first():
    assert contents(put_on(chat(USER))) == [("system", "Better."), USER]


def test_a_developer_message_stays_one_and_further_system_messages_stay():
    out = put_on(chat(("developer", "Classify."), ("system", "Today is Monday."), USER))
    assert contents(out) == [("developer", "Better."), ("system", "Today is Monday."), USER]


def test_an_empty_instruction_is_an_empty_instruction_and_none_leaves_the_apps():
    assert contents(put_on(chat(("system", "Classify."), USER), text=""))[0] == ("system", "")
    assert contents(put_on(chat(("system", "Classify."), USER), text=None))[0][1] == "Classify."


def test_unknown_fields_numbers_and_the_apps_messages_keep_their_bytes():
    part = b'[{"type":"text","text":"caf\\u00e9"},{"type":"image_url","image_url":{}}]'
    body = (
        b'{ "model":"m" , "big": 123456789012345678901234567890, "f":1.10, "x":{"y" :[1 , 2]},\n'
        b'"messages" : [ {"role":"system","content":"Classify."} ,{"role":"user", "content":'
        + part
        + b', "n": 1e2}] }'
    )
    out = put_on(request(body)).body
    assert b'"big": 123456789012345678901234567890' in out
    assert b'"f":1.10' in out
    assert b'"x":{"y" :[1 , 2]}' in out
    assert b'{"role":"user", "content":' + part + b', "n": 1e2}' in out
    assert json.loads(out)["messages"][0]["content"] == "Better."


def test_demos_repeat_only_the_lines_that_vary_and_stand_before_the_last_user_turn():
    call = b'{"role":"assistant","content":null,"tool_calls":[{"id":"c1"}]}'
    demo = Demo(bindings={"query": "no card"}, messages=(call, b'{"role":"tool","content":"ok"}'))
    out = put_on(
        chat(("system", "Classify."), ("user", "hi"), ("assistant", "yes?"), USER), demos=[demo]
    )
    assert contents(out) == [
        ("system", "Better."), ("user", "hi"), ("assistant", "yes?"), ("user", "Query: no card"),
        ("assistant", None), ("tool", "ok"), USER,
    ]  # fmt: skip
    assert call in out.body


def test_demos_come_before_the_question_of_a_tool_loop():
    demo = Demo(bindings={"query": "d"}, messages=(b'{"role":"assistant","content":"a"}',))
    out = put_on(
        chat(("system", "Classify."), USER, ("assistant", "t"), ("tool", "r")), demos=[demo]
    )
    assert [role for role, _ in contents(out)] == [
        "system", "user", "assistant", "user", "assistant", "tool",
    ]  # fmt: skip


def test_patterns_bind_and_the_instruction_is_rendered_with_the_values():
    made = substitute.edited(
        chat(("system", "Labels {labels} for bank X"), ("user", "Query: {odd} value")).messages,
        stage=stage(
            mode=Mode.PATTERN, system="Labels {{labels}} for {bank}", user="Query: {query}"
        ),
        prompt=StagePrompt(instruction="For {bank}: {query}; {unknown} stays"),
    )
    assert made.edit.system == "For bank X: {odd} value; {unknown} stays"
    assert made.bindings == {"bank": "bank X", "query": "{odd} value"}


def test_without_patterns_an_instruction_goes_out_as_it_is_braces_and_all():
    text = "{{as}} {is} {query}"
    assert contents(put_on(chat(("system", "Classify."), USER), text=text))[0][1] == text


def test_a_pattern_that_does_not_bind_puts_nothing_on_the_wire():
    with pytest.raises(substitute.WildcardUnbound):
        put_on(chat(("system", "Classify."), ("user", "where")), mode=Mode.PATTERN)


def test_the_stages_model_wins_where_it_says_something():
    out = json.loads(
        put_on(
            chat(USER, temperature=0.7, max_tokens=9), temperature=0.0, max_output_tokens=64
        ).body
    )
    assert (out["model"], out["temperature"], out["max_tokens"]) == ("gpt-x", 0.0, 64)
    assert "max_completion_tokens" not in out
    out = json.loads(put_on(chat(USER, temperature=0.7, max_tokens=9)).body)
    assert (out["temperature"], out["max_tokens"]) == (0.7, 9)


def test_a_call_without_an_output_limit_is_given_one_that_covers_all_choices():
    out = put_on(chat(USER, n=3))
    assert json.loads(out.body)["max_completion_tokens"] == DEFAULT_OUTPUT_TOKENS
    assert out.max_output_tokens == 3 * DEFAULT_OUTPUT_TOKENS
    assert "max_tokens" in json.loads(put_on(chat(USER), provider="local").body)


def test_fields_by_which_a_provider_repeats_the_prompt_are_taken_out():
    out = json.loads(put_on(chat(USER, echo=True, prompt_logprobs=5, store=True)).body)
    assert not {"echo", "prompt_logprobs", "store"} & out.keys()


def test_usage_is_asked_for_in_streams_and_other_options_stay():
    out = json.loads(put_on(chat(USER, stream=True, stream_options={"x": 1})).body)
    assert out["stream_options"] == {"x": 1, "include_usage": True}
    assert "stream_options" not in json.loads(put_on(chat(USER)).body)


@given(st.binary(max_size=80))
def test_any_body_is_parsed_or_refused(body):
    try:
        ChatRequest.parse(body)
    except BadRequest:
        return
