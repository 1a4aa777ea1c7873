"""The labelled corpus: never a wrong stage, and as few calls as can be without one."""

import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from burnish_interceptor.dialects import Forced
from burnish_interceptor.dialects.chat import ChatRequest
from burnish_interceptor.policies.policy import Mode, Model, StagePrompt
from burnish_interceptor.prompts.match import How, Recogniser
from burnish_interceptor.prompts.stages import CallSite, StageFinder
from burnish_interceptor.prompts.substitute import Editor
from tests.corpus import calls as corpus
from tests.corpus.calls import Call, Program

PROGRAMS = corpus.programs()
# Ways of varying a call that leave the stage's own text as it is.
TEXT_KEPT = (
    "value reworded", "value in another language", "value cut", "value empty", "value long",
    "value with odd signs", "value quotes another stage", "tools", "long_tools", "history", "chat",
    "developer", "second_system", "system_last",
)  # fmt: skip
# Ways that change how it looks, move its sentences, or add to it.
TEXT_ADDED_TO = (
    "space changed", "upper case", "lower case", "context appended", "line put in front",
    "date put in", "word before the user turn", "sentences reordered",
)  # fmt: skip


@pytest.fixture(params=[False, True], ids=["tuned on", "held out"])
def chosen(request) -> list[Program]:
    return [program for program in PROGRAMS if program.held_out is request.param]


def all_calls(program: Program) -> Iterator[Call]:
    for call in corpus.calls(program):
        yield call
        yield from corpus.variants(program, call)
    for call in corpus.foreign(program):
        yield call
        yield from corpus.varied_foreign(call)


def tally(programs) -> tuple[dict[str, Counter[str]], list[Call]]:
    """Returns how the calls of each kind were recognised, and those recognised wrongly."""
    recogniser = Recogniser()
    table: dict[str, Counter[str]] = {}
    wrong = []
    for program in programs:
        for call in all_calls(program):
            stage = recogniser.recognise(program.stages, call.messages).stage
            kind = table.setdefault(call.kind, Counter())
            kind["all"] += 1
            if stage is None:
                kind["passed through"] += 1
            elif stage.stage_id == call.stage_id:
                kind["right"] += 1
            else:
                wrong.append(call)
    return table, wrong


def coverage(table: dict[str, Counter[str]], kinds: Sequence[str]) -> float:
    return sum(table[kind]["right"] for kind in kinds) / sum(table[kind]["all"] for kind in kinds)


def test_the_corpus_is_as_large_as_it_claims():
    assert len(PROGRAMS) == 20
    assert sum(program.held_out for program in PROGRAMS) == 5
    own = [call for program in PROGRAMS for call in corpus.calls(program)]
    assert len(own) == 240
    assert len({(call.program, call.messages) for call in own}) == len(own)
    assert sum(1 for program in PROGRAMS for _ in all_calls(program)) > 7000


def test_no_call_is_ever_taken_for_a_wrong_stage(chosen):
    _, wrong = tally(chosen)
    assert wrong == []


def test_calls_as_they_are_sent_are_recognised(chosen):
    table, _ = tally(chosen)
    assert coverage(table, ["as sent"]) >= 0.99


def test_neither_values_nor_the_shape_of_a_conversation_matter(chosen):
    table, _ = tally(chosen)
    assert coverage(table, TEXT_KEPT) >= 0.99


def test_most_calls_are_recognised_when_their_text_is_moved_or_added_to(chosen):
    table, _ = tally(chosen)
    assert coverage(table, TEXT_ADDED_TO) >= 0.95


@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_calls_never_makes_a_stage_wrong(seed):
    """The programs have no twins: calls of one attempt in any order, overlapping, keep theirs."""
    rng = random.Random(seed)
    finder = StageFinder(since=0.0)
    for program in PROGRAMS:
        mixed = list(all_calls(program))
        rng.shuffle(mixed)
        for number, call in enumerate(mixed[:120]):
            site = CallSite(
                policy=program.name,
                attempt=(program.name, 1),
                body_hash=str(rng.randrange(100)),
                retry=rng.random() < 0.1,
                hint="",
                issue_time=1.0,
            )
            found = finder.match(program.stages, call.messages, site)
            assert found.stage is None or found.stage.stage_id == call.stage_id, (number, call)
            if rng.random() < 0.5:
                finder.ended(site)


def test_calls_to_the_letter_bring_the_values_that_were_put_in():
    recogniser = Recogniser()
    for program in PROGRAMS:
        for call in corpus.calls(program):
            found = recogniser.recognise(program.stages, call.messages)
            assert (found.how, found.bindings) == (How.EXACT, call.bindings), call


def test_calls_of_other_programs_are_not_recognised():
    recogniser = Recogniser()
    for program in PROGRAMS:
        for other in PROGRAMS:
            if other is program:
                continue
            for call in corpus.calls(other):
                found = recogniser.recognise(program.stages, call.messages)
                assert found.stage is None, (program.name, call)


def test_a_stage_that_nobody_declared_is_not_taken_for_its_sibling():
    recogniser = Recogniser()
    looked_at = 0
    for program in PROGRAMS:
        plan = recogniser.plan(program.stages)
        for place, stage in enumerate(program.stages):
            if any(place in narrower for narrower in plan.narrower):
                # Its calls follow a wider stage's patterns to the letter: no text tells them apart.
                continue
            rest = tuple(one for one in program.stages if one is not stage)
            for call in all_calls(program):
                if call.stage_id == stage.stage_id:
                    looked_at += 1
                    found = recogniser.recognise(rest, call.messages)
                    assert found.stage is None, (found.stage, call)
    assert looked_at > 6000


def test_recognised_calls_get_the_candidate_and_keep_every_other_byte():
    """Each stage's candidate goes on its own calls, through real bodies."""
    recogniser, editor = Recogniser(), Editor()
    for program in PROGRAMS:
        prompts = {
            one.stage_id: StagePrompt(instruction=f"candidate of {one.stage_id}")
            for one in program.stages
        }
        for call in corpus.calls(program):
            body = json.dumps(corpus.body_of(call), ensure_ascii=call.number > 1).encode()
            request = ChatRequest.parse(body)
            found = recogniser.recognise(program.stages, request.messages)
            assert found.stage is not None
            made = editor.edited(
                request.messages,
                stage=found.stage,
                prompt=prompts[found.stage.stage_id],
                bindings=found.bindings,
            )
            sent = request.rewritten(made.edit, Forced(model=Model(provider="openai", name="m")))
            assert b'"seed": 12345678901234567890123' in sent.body
            theirs = json.loads(body)["messages"]
            ours = json.loads(sent.body)["messages"]
            system = next((i for i, one in enumerate(theirs) if one["role"] != "user"), None)
            if found.stage.messages[0].role != "system":
                assert ours[0] == {"role": "system", "content": f"candidate of {call.stage_id}"}
                assert ours[1:] == theirs
            else:
                assert system is not None
                theirs[system]["content"] = ours[system]["content"]
                assert f"candidate of {call.stage_id}" in json.dumps(ours[system])
                assert ours == theirs


def test_candidates_of_stages_with_values_in_their_system_text_are_rendered_with_them():
    recogniser, editor = Recogniser(), Editor()
    rendered = 0
    for program in PROGRAMS:
        stages = tuple(replace(one, mode=Mode.PATTERN) for one in program.stages)
        for call in corpus.calls(program):
            found = recogniser.recognise(stages, call.messages)
            assert found.stage is not None
            names = sorted(call.bindings)
            text = "; ".join(f"{name}={{{name}}}" for name in names)
            made = editor.edited(
                call.messages,
                stage=found.stage,
                prompt=StagePrompt(instruction=text),
                bindings=found.bindings,
            )
            assert made.edit.system == "; ".join(f"{n}={call.bindings[n]}" for n in names)
            rendered += 1
    assert rendered == 240
