"""The ids over canonical bytes, with vectors that other languages can be held to."""

from dataclasses import replace

import pytest

from burnish.identity import (
    DemoContent,
    InstructionForm,
    ReplacementContent,
    RolloutKey,
    TransformContent,
    candidate_id,
    canonical_bytes,
    demo_set_id,
    instruction_id,
    rollout_id,
)


def test_canonical_bytes_sort_keys_and_keep_unicode():
    assert canonical_bytes({"b": 1, "a": "é\n"}) == '{"a":"é\\n","b":1}'.encode()


def test_canonical_bytes_refuse_nan():
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_bytes({"x": float("nan")})


def test_vectors():
    assert (
        instruction_id(stage_id="main", text="Classify.") == "ins_a803df2b66db6f13b63a315ab78d3fba"
    )
    assert demo_set_id(stage_id="main", demos=[]) == "dem_5652fedbad2179b6f74485c9af5c1202"
    assert candidate_id({"main": ("ins_a", "dem_b")}) == "cand_71b52185f87d4e11aec5b0aaa88adc15"


def test_an_instruction_of_another_form_has_an_id_of_its_own():
    one = ReplacementContent(old_text=None, new_text="Be brief.", role="system", position=0)
    strict = TransformContent(replacements=[one], exact=False, ignore_case=False, strict=True)
    forms = [
        InstructionForm(transform=strict),
        InstructionForm(transform=replace(strict, strict=False)),
        InstructionForm(sections=[("system", "Be brief.")]),
    ]
    ids = [instruction_id(stage_id="main", text="", form=form) for form in [None, *forms]]
    assert len(set(ids)) == 4
    assert instruction_id(stage_id="main", text="", form=InstructionForm()) == ids[0]
    assert ids[1] == "ins_214b9d7473ffd6209912ea969201e1af"
    assert ids[3] == "ins_b43fecfdd74a469cd2978aff66755579"


def test_an_empty_instruction_differs_from_another_stage():
    assert instruction_id(stage_id="a", text="") != instruction_id(stage_id="b", text="")


def test_demo_order_and_spelling_of_json_matter_as_they_should():
    one = DemoContent(bindings={"q": "1"}, messages=[b'{"role": "assistant", "content": "x"}'])
    same = DemoContent(bindings={"q": "1"}, messages=[b'{"content":"x","role":"assistant"}'])
    other = DemoContent(bindings={"q": "2"}, messages=one.messages)
    assert demo_set_id(stage_id="s", demos=[one]) == demo_set_id(stage_id="s", demos=[same])
    assert demo_set_id(stage_id="s", demos=[one, other]) != demo_set_id(
        stage_id="s", demos=[other, one]
    )


def test_rollout_id_depends_on_every_part_of_its_key():
    base = RolloutKey(
        job="jobs/a",
        candidate_id="cand_1",
        pool="POOL_ONLINE",
        seed=0,
        repeat=0,
        models={"main": "openai/gpt-4o"},
    )
    keys = [
        base,
        replace(base, job="jobs/b"),
        replace(base, candidate_id="cand_2"),
        replace(base, pool="POOL_TEST"),
        replace(base, seed=1),
        replace(base, repeat=1),
        replace(base, models={"main": "groq/x"}),
    ]
    assert len({rollout_id(key) for key in keys}) == len(keys)
