"""Prompts of other forms than a text: what is minted of them, and what is wrong with them."""

import pytest

from burnish.api.policy import v1 as policy_v1
from burnish.api.types import v1 as types_v1
from burnish_controller import prompt_forms

TEMPLATE = types_v1.PromptTemplate(
    stage_id="main",
    messages=[
        types_v1.MessagePattern(role="system", pattern="For {shop}. {tone}"),
        types_v1.MessagePattern(role="user", pattern="Question: {question}"),
    ],
    wildcards={"tone": types_v1.WILDCARD_KIND_OPTIONAL},
)
BRIEF = types_v1.TextReplacement(old_text="brief", new_text="kind")


def replacing(*replacements, **fields):
    transform = types_v1.TextTransform(replacements=replacements, **fields)
    return policy_v1.StagePrompt(transform=transform)


def bringing(*sections):
    return policy_v1.StagePrompt(
        sections=[
            types_v1.PromptSection(role=role, content=content, order=order)
            for order, (role, content) in enumerate(sections)
        ]
    )


def minted(prompt):
    content = prompt_forms.content_of(prompt)
    assert content is not None
    return prompt_forms.component_of(
        "main", content, source=types_v1.COMPONENT_SOURCE_GIVEN
    ).component_id


def test_a_prompt_without_a_form_leaves_the_apps_own():
    assert prompt_forms.content_of(policy_v1.StagePrompt()) is None
    content = prompt_forms.content_of(policy_v1.StagePrompt(instruction=""))
    assert content is not None
    assert content.text == ""


def test_what_the_model_is_shown_decides_the_id():
    same = minted(replacing(BRIEF))
    assert minted(replacing(types_v1.TextReplacement(
        old_text="brief", new_text="kind", role="system"))) == same  # fmt: skip
    others = [
        policy_v1.StagePrompt(instruction=""),
        replacing(BRIEF, strict=True),
        replacing(BRIEF, ignore_case=True),
        replacing(BRIEF, match=types_v1.TEXT_MATCH_EXACT),
        replacing(types_v1.TextReplacement(new_text="kind")),
        bringing(("system", "kind")),
        bringing(("user", "kind")),
    ]
    assert len({same, *(minted(one) for one in others)}) == 1 + len(others)


def test_the_name_and_the_numbering_of_sections_do_not_count():
    named = bringing(("system", "a"), ("user", "b"))
    for number, section in enumerate(named.sections):
        section.name, section.order = f"part {number}", 10 * number
    assert minted(named) == minted(bringing(("system", "a"), ("user", "b")))


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        (replacing(), ["has no replacements"]),
        (replacing(types_v1.TextReplacement(old_text="", new_text="x")), ["empty `old_text`"]),
        (replacing(types_v1.TextReplacement(role="tool", position=-1)),
         ["has role `tool`", "count from 0"]),
        (bringing(("boss", "x")), ["has role `boss`"]),
        (bringing(("system", "Be kind.")), ["lost `{shop}`"]),
        (bringing(("system", "For {shop}."), ("user", "Hello")), ["lost `{question}`"]),
        (bringing(("system", "For {shop}."), ("user", "{question}")), []),
        (bringing(("assistant", "Ready.")), []),
        (replacing(BRIEF), []),
        (policy_v1.StagePrompt(instruction="x", sections=bringing(("user", "y")).sections),
         ["more than one of", "lost `{question}`"]),
    ],
)  # fmt: skip
def test_every_fault_is_named(prompt, said):
    faults = list(prompt_forms.faults("arm `a`", TEMPLATE, prompt))
    assert len(faults) == len(said)
    for fault, part in zip(faults, said, strict=True):
        assert fault.startswith("arm `a`")
        assert part in fault
