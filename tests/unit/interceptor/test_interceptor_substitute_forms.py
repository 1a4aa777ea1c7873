"""What prompts of every form make of a conversation, and what never leaves."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish import templates
from burnish_interceptor.dialects import Forced
from burnish_interceptor.dialects.chat import ChatRequest
from burnish_interceptor.policies.policy import (
    Demo,
    MessagePattern,
    Mode,
    Model,
    Section,
    Stage,
    StagePrompt,
    TextReplacement,
    Transform,
)
from burnish_interceptor.prompts import substitute
from burnish_interceptor.prompts.edit import Message
from burnish_interceptor.prompts.substitute import Editor, ReplacementUnfound, WildcardUnbound

MODEL = Model(provider="openai", name="m")
ANSWER = b'{"role":"assistant","content":"a"}'


def stage(*messages, mode=Mode.SYSTEM, optional=()) -> Any:
    return Stage(
        stage_id="s",
        messages=tuple(
            MessagePattern(role=role, pattern=templates.parse(text)) for role, text in messages
        ),
        optional=frozenset(optional),
        mode=mode,
        model=MODEL,
        optimised=True,
    )


STAGE = stage(
    ("system", "Answer for {shop}. Be brief."), ("user", "Notes: {notes}\nQuestion: {question}")
)
CALL = [
    Message("system", "Answer for Lind & Co. Be brief."),
    Message("user", "Notes: none\nQuestion: when {open}?"),
]


def body(messages) -> bytes:
    return json.dumps(
        {"model": "m", "messages": [{"role": role, "content": text} for role, text in messages]}
    ).encode()


def after(messages, made) -> Any:
    request = ChatRequest.parse(body(messages))
    sent = json.loads(request.rewritten(made.edit, Forced(model=MODEL)).body)["messages"]
    return [(one["role"], one["content"]) for one in sent]


def put_on(messages, prompt, *, on=STAGE) -> Any:
    return after(messages, substitute.edited(messages, stage=on, prompt=prompt))


def transform(*replacements, **settings) -> Any:
    return StagePrompt(
        instruction=None,
        transform=Transform(
            replacements=tuple(TextReplacement(**one) for one in replacements), **settings
        ),
    )


def sections(*given) -> Any:
    return StagePrompt(
        instruction=None,
        sections=tuple(
            Section(role=role, content=text, order=order) for role, text, order in given
        ),
    )


def test_a_part_of_the_system_text_is_replaced_wherever_it_occurs():
    prompt = transform({"old_text": "e", "new_text": "E"})
    assert put_on(CALL, prompt)[0] == ("system", "AnswEr for Lind & Co. BE briEf.")
    assert put_on(CALL, prompt)[1] == tuple(CALL[1])


def test_replacements_are_made_one_after_the_other_on_the_role_they_name():
    prompt = transform(
        {"old_text": "Question", "new_text": "Q", "role": "user"},
        {"old_text": "Q:", "new_text": "Ask:", "role": "user"},
        {"old_text": "Be brief.", "new_text": "Be kind."},
    )
    assert put_on(CALL, prompt) == [
        ("system", "Answer for Lind & Co. Be kind."),
        ("user", "Notes: none\nAsk: when {open}?"),
    ]


def test_without_an_old_text_the_whole_message_at_its_place_is_replaced():
    chat = [CALL[0], Message("user", "a"), Message("assistant", "b"), Message("user", "c")]
    prompt = transform({"old_text": None, "new_text": "X", "role": "user", "position": 1})
    assert put_on(chat, prompt)[1:] == [("user", "a"), ("assistant", "b"), ("user", "X")]
    missing = transform({"old_text": None, "new_text": "X"})
    assert put_on(chat[1:], missing)[0] == ("system", "X")


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({}, False),
        ({"case_sensitive": False}, True),
        ({"case_sensitive": False, "whole": True}, False),
    ],
)
def test_case_and_whole_messages_are_told_apart_as_asked(settings, found):
    prompt = transform({"old_text": "BE BRIEF", "new_text": r"Be \1 long"}, **settings)
    made = substitute.edited(CALL, stage=STAGE, prompt=prompt)
    assert made.applied is found
    assert (after(CALL, made)[0][1] == r"Answer for Lind & Co. Be \1 long.") is found


def test_a_whole_message_is_replaced_when_it_is_the_old_text():
    prompt = transform({"old_text": CALL[0].text.upper(), "new_text": "New."}, whole=True)
    assert not substitute.edited(CALL, stage=STAGE, prompt=prompt).applied
    prompt = transform({"old_text": CALL[0].text, "new_text": "New."}, whole=True)
    assert put_on(CALL, prompt)[0] == ("system", "New.")


def test_a_strict_replacement_that_finds_nothing_keeps_the_call_back():
    found, missed = {"old_text": "brief", "new_text": "x"}, {"old_text": "absent", "new_text": "y"}
    with pytest.raises(ReplacementUnfound):
        put_on(CALL, transform(found, missed, strict=True))
    assert put_on(CALL, transform(found, missed))[0][1].endswith("Be x.")


def test_sections_take_the_place_of_the_apps_messages():
    prompt = sections(
        ("user", "Q: {question}", 5),
        ("user", "N: {notes}", 4),
        ("system", "You work for {shop}.", 1),
        ("assistant", "Ready for {shop}.", 3),
        ("user", "Say when you are ready.", 2),
        ("system", "Keep {this}.", 1),
    )
    assert put_on(CALL, prompt) == [
        ("system", "You work for Lind & Co.\n\nKeep {this}."),
        ("user", "Say when you are ready."),
        ("assistant", "Ready for Lind & Co."),
        ("user", "N: none\n\nQ: when {open}?"),
    ]


def test_sections_leave_the_turns_of_a_tool_loop_and_images_alone():
    prompt = sections(("system", "For {shop}.", 0), ("user", "{notes} {question}", 1))
    loop = [*CALL, Message("assistant", "t"), Message("tool", "r")]
    assert put_on(loop, prompt)[2:] == [("assistant", "t"), ("tool", "r")]
    image = {"type": "image_url", "image_url": {"url": "data:x"}}
    parts = [{"type": "text", "text": CALL[1].text}, image]
    given = [{"role": "system", "content": CALL[0].text}, {"role": "user", "content": parts}]
    raw = json.dumps({"model": "m", "messages": given}).encode()
    request = ChatRequest.parse(raw)
    made = substitute.edited(request.messages, stage=STAGE, prompt=prompt)
    sent = json.loads(request.rewritten(made.edit, Forced(model=MODEL)).body)["messages"]
    assert sent[1]["content"] == [{"type": "text", "text": "none when {open}?"}, image]


@pytest.mark.parametrize(
    "given",
    [
        [("user", "only {notes}", 0)],
        [("system", "For {shop}.", 0), ("user", "nothing", 1)],
    ],
)
def test_sections_that_would_lose_what_the_user_said_do_not_leave(given):
    with pytest.raises(WildcardUnbound):
        put_on(CALL, sections(*given))


def test_sections_do_not_take_a_later_turn_for_the_templates():
    more = [*CALL, Message("assistant", "at nine"), Message("user", "Notes: x\nQuestion: sure?")]
    with pytest.raises(WildcardUnbound):
        put_on(more, sections(("user", "{notes} {question}", 1)))


def test_sections_want_every_required_wildcard_bound():
    with pytest.raises(WildcardUnbound):
        put_on([Message("system", "Other."), CALL[1]], sections(("system", "For {shop}.", 0)))


def test_demos_go_with_every_form():
    demo = Demo(bindings={"question": "why?"}, messages=(ANSWER,))
    turns = [("user", "Question: why?"), ("assistant", "a")]
    forms: list[dict[str, Any]] = [
        {"instruction": "New."},
        {"instruction": None, "sections": sections(("system", "For {shop}.", 0)).sections},
        {"instruction": None,
         "transform": transform({"old_text": "brief", "new_text": "kind"}).transform},
    ]  # fmt: skip
    for form in forms:
        assert put_on(CALL, StagePrompt(demos=(demo,), **form))[1:3] == turns


def test_an_editor_makes_what_the_function_makes_and_keeps_constant_edits():
    editor = Editor()
    prompt = StagePrompt(instruction="New.", demos=(Demo(bindings={}, messages=(ANSWER,)),))
    first = editor.edited(CALL, stage=STAGE, prompt=prompt)
    assert first == substitute.edited(CALL, stage=STAGE, prompt=prompt)
    again = editor.edited(list(CALL), stage=STAGE, prompt=prompt, bindings=first.bindings)
    assert again.edit is first.edit
    assert len(editor._recipes) == 1


def test_an_editor_forgets_old_prompts():
    editor = Editor()
    for number in range(1200):
        editor.edited(CALL, stage=STAGE, prompt=StagePrompt(instruction=str(number)))
    assert len(editor._recipes) == 1024


VALUES = st.text(alphabet='xyz {}01é\\"', max_size=12)


@given(shop=VALUES, notes=VALUES, question=VALUES, text=st.text(max_size=40))
def test_no_instruction_leaves_with_a_wildcard_of_the_stage_unbound(shop, notes, question, text):
    pattern = stage(*((one.role, _text(one.pattern)) for one in STAGE.messages), mode=Mode.PATTERN)
    prompt = StagePrompt(instruction=text + " {shop}|{question}")
    bindings = {"shop": shop, "notes": notes, "question": question}
    call = [Message(one.role, one.pattern.render(bindings)) for one in STAGE.messages]
    made = substitute.edited(call, stage=pattern, prompt=prompt)
    assert made.edit.system is not None
    # The values may have been cut apart at another place, but all of the text is still there.
    for one, message in zip(STAGE.messages, call, strict=True):
        assert one.pattern.render(made.bindings) == message.text
    end = f" {made.bindings['shop']}|{made.bindings['question']}"
    assert made.edit.system.endswith(end)
    with pytest.raises(WildcardUnbound):
        substitute.edited([call[1]], stage=pattern, prompt=prompt)


def _text(pattern) -> str:
    return "".join(part if isinstance(part, str) else f"{{{part.name}}}" for part in pattern.parts)


@given(
    st.lists(
        st.tuples(st.sampled_from(["system", "user", "assistant", "tool"]), st.text(max_size=20)),
        min_size=1,
        max_size=6,
    ),
    st.text(max_size=20),
)
def test_bytes_outside_an_edit_stay_as_they_were_sent(messages, text):  # fmt: skip
    made = substitute.edited(
        [Message(*one) for one in messages], stage=stage(("user", "{x}")),
        prompt=StagePrompt(instruction=text),
    )  # fmt: skip
    raw = body(messages).replace(b'"model"', b'"big": 10000000000000000000000.10, "model"')
    sent = ChatRequest.parse(raw).rewritten(made.edit, Forced(model=MODEL)).body
    assert b'"big": 10000000000000000000000.10' in sent
    place = next((i for i, one in enumerate(messages) if one[0] == "system"), None)
    for index, (role, content) in enumerate(messages):
        if index != place:
            assert json.dumps({"role": role, "content": content}).encode() in sent
