"""Finding the stage of a call by hint and by order, and when order is not to be trusted."""

import itertools
import random
from typing import Any

import pytest

from burnish import templates
from burnish_interceptor.policies.policy import MessagePattern, Mode, Model, Policy, Stage
from burnish_interceptor.prompts.edit import Message
from burnish_interceptor.prompts.match import How
from burnish_interceptor.prompts.notices import Notices, told
from burnish_interceptor.prompts.stages import CallSite, StageFinder

START = 1000.0


def stage(stage_id, *messages) -> Any:
    return Stage(
        stage_id=stage_id,
        messages=tuple(
            MessagePattern(role=role, pattern=templates.parse(text)) for role, text in messages
        ),
        optional=frozenset(),
        mode=Mode.SYSTEM,
        model=Model(provider="openai", name="m"),
        optimised=True,
    )


def think(text, *more) -> Any:
    return [Message("system", "Think hard."), Message("user", text), *more]


PATTERNS = (("system", "Think hard."), ("user", "{x}"))
TWINS = (stage("first", *PATTERNS), stage("second", *PATTERNS))
WITH_MIDDLE = (
    TWINS[0],
    stage("middle", ("system", "Weigh what was thought."), ("user", "{x}")),
    TWINS[1],
)
_bodies = itertools.count()


def site(body=None, *, retry=False, hint="", attempt=("roll", 1), issued=START) -> Any:
    return CallSite(
        policy="p",
        attempt=attempt,
        body_hash=body if body is not None else f"body-{next(_bodies)}",
        retry=retry,
        hint=hint,
        issue_time=issued,
    )


def finder(*, alone=True) -> StageFinder:
    return StageFinder(since=START, alone=alone)


def called(one, messages, where, *, stages=TWINS) -> Any:
    """Makes a call from its start to its end; returns the id of its stage."""
    found = one.match(stages, messages, where)
    one.ended(where)
    return found.stage.stage_id if found.stage is not None else None


def test_twins_take_turns_in_the_programs_order_each_once():
    one = finder()
    assert [called(one, think(str(i)), site()) for i in range(3)] == ["first", "second", None]
    assert called(one, think("0"), site(attempt=("roll", 2))) == "first"


def test_a_stage_in_between_moves_the_order_on():
    one = finder()
    middle = [Message("system", "Weigh what was thought."), Message("user", "x")]
    assert called(one, middle, site(), stages=WITH_MIDDLE) == "middle"
    assert called(one, think("x"), site(), stages=WITH_MIDDLE) == "second"


def test_an_order_says_so():
    assert finder().match(TWINS, think("x"), site()).how is How.ORDER


def test_a_repeated_call_keeps_its_turn():
    one = finder()
    assert called(one, think("x"), site("a")) == "first"
    assert called(one, think("x"), site("a", retry=True)) == "first"
    assert called(one, think("y"), site("b")) == "second"
    assert called(one, think("x"), site("a", retry=True)) == "first"


def test_a_repeat_that_was_not_seen_before_is_unmatched_and_so_is_what_follows():
    one = finder()
    assert called(one, think("x"), site("a", retry=True)) is None
    assert called(one, think("y"), site("b")) is None


def test_after_a_restart_in_the_middle_of_an_attempt_its_twins_are_unmatched():
    before = finder()
    assert called(before, think("x"), site()) == "first"
    after = StageFinder(since=START + 60)
    assert called(after, think("y"), site()) is None
    assert called(after, think("y"), site(attempt=("roll", 2), issued=START + 61)) == "first"


def test_one_process_of_several_does_not_trust_the_order():
    assert called(finder(alone=False), think("x"), site()) is None


def test_the_same_body_twice_is_two_samples_or_two_stages_so_it_is_unmatched():
    one = finder()
    assert called(one, think("x"), site("a")) == "first"
    assert called(one, think("x"), site("a")) is None
    assert called(one, think("y"), site("b")) is None


def test_a_tool_loop_stays_in_its_stage():
    one = finder()
    loop = think("x")
    assert called(one, loop, site()) == "first"
    for _ in range(30):
        loop = [*loop, Message("assistant", ""), Message("tool", "result")]
        assert called(one, loop, site()) == "first"
    assert called(one, think("y"), site()) == "second"


def test_a_conversation_that_goes_on_with_a_user_turn_may_be_of_either():
    one = finder()
    assert called(one, think("x"), site()) == "first"
    more = think("x", Message("assistant", "a"), Message("user", "b"))
    assert called(one, more, site()) is None
    assert called(one, think("y"), site()) is None


def test_overlapping_calls_of_twins_end_the_order_for_good():
    one = finder()
    first, second = site(), site()
    assert one.match(TWINS, think("x"), first).stage is TWINS[0]
    assert one.match(TWINS, think("y"), second).stage is None
    one.ended(first)
    one.ended(second)
    assert called(one, think("z"), site()) is None
    assert called(one, think("x"), site(attempt=("roll", 2))) is None


@pytest.mark.parametrize("seed", range(50))
def test_of_twins_that_overlap_no_attempt_is_substituted_throughout(seed):
    """An attempt with an unmatched call is not scored, so no reward is credited wrongly."""
    rng = random.Random(seed)
    one = finder()
    for number in range(5):
        attempt = ("roll", number)
        sites = [site(attempt=attempt) for _ in TWINS]
        rng.shuffle(sites)
        found = [one.match(TWINS, think(str(i)), where) for i, where in enumerate(sites)]
        for where in sites:
            one.ended(where)
        assert any(each.stage is None for each in found)
        if number:
            assert all(each.stage is None for each in found)


def attempt_of(number, rng) -> Any:
    """Yields the calls of an attempt one after the other: messages, body, whether it is a retry."""
    for stage_id in ("first", "second"):
        messages = think(f"{number} {stage_id}")
        for turn in range(rng.randrange(1, 4)):
            body = f"{number} {stage_id} {turn}"
            yield stage_id, list(messages), body, False
            while rng.random() < 0.3:
                yield stage_id, list(messages), body, True
            messages += [Message("assistant", ""), Message("tool", f"result {turn}")]


@pytest.mark.parametrize("seed", range(100))
def test_calls_made_in_order_are_never_taken_for_the_other_twin(seed):
    """Attempts side by side, with tool loops, retries and restarts in the middle."""
    rng = random.Random(seed)
    one = finder()
    running = {}
    matched = 0
    for now in range(200):
        number = rng.randrange(20)
        if number not in running:
            running[number] = (START + now, attempt_of(now, rng))
        issued, todo = running[number]
        if rng.random() < 0.02:
            one = StageFinder(since=START + now)
        call = next(todo, None)
        if call is None:
            del running[number]
            continue
        stage_id, messages, body, retry = call
        where = site(body, retry=retry, attempt=(f"roll {number} {issued}", 1), issued=issued)
        found = called(one, messages, where)
        assert found in (None, stage_id)
        matched += found is not None
    assert matched > 0


def test_attempts_do_not_disturb_one_another():
    one = finder()
    sites = [site(attempt=(f"roll {i}", 1)) for i in range(20)]
    assert {one.match(TWINS, think(str(i)), where).stage for i, where in enumerate(sites)} == {
        TWINS[0]
    }


def test_the_hint_of_the_app_decides_between_twins():
    assert called(finder(), think("x"), site(hint="second")) == "second"
    assert called(finder(), think("x"), site(hint="unknown")) == "first"
    assert finder().match(TWINS, think("x"), site(hint="second")).how is How.HINT


def test_the_hint_does_not_override_a_clear_text():
    middle = [Message("system", "Weigh what was thought."), Message("user", "x")]
    assert called(finder(), middle, site(hint="first"), stages=WITH_MIDDLE) == "middle"


def test_the_hint_opens_a_call_whose_text_says_nothing():
    foreign = [Message("user", "something else")]
    assert called(finder(), foreign, site(hint="middle"), stages=WITH_MIDDLE) == "middle"
    assert called(finder(), foreign, site(), stages=WITH_MIDDLE) is None


def test_memory_of_attempts_is_bounded():
    one = finder()
    for number in range(10_050):
        called(one, think("x"), site("b", attempt=("roll", number)))
    assert len(one._progress) == 10_000
    late = site("c", attempt=("roll", 10_049))
    assert called(one, think("y"), late) == "second"


def test_an_unmatched_call_is_told_of_without_its_text_and_ever_more_rarely():
    policy = Policy(policy_id="p", version=1, job="", stages=TWINS)
    found = finder(alone=False).match(TWINS, think("a secret"), site())
    assert told(policy, found) == {
        "policy": "p", "cause": "unsure", "ratio": 1.0, "stages": ["first", "second"],
    }  # fmt: skip
    notices = Notices()
    assert [notices.due(policy, found) for _ in range(9)] == [1, 2, 0, 4, 0, 0, 0, 8, 0]
    foreign = finder().match(TWINS, [Message("user", "x")], site())
    assert notices.due(policy, foreign) == 1
