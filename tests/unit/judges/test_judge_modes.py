"""How a judgement is made: routes, votes, parts, comparisons, reading within a budget."""

import contextlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.errors import ResourceExhausted, Unavailable
from burnish.rubrics import Criterion, Rubric
from burnish_runtime.llm.base import ProviderUnavailable
from burnish_verifier.judges import single
from burnish_verifier.judges.asking import (
    Asker,
    Draw,
    JudgeBudgetExhausted,
    JudgeReplyInvalid,
    Purse,
    Question,
)
from burnish_verifier.judges.brief import Brief, rotated
from burnish_verifier.judges.contrastive import placed
from burnish_verifier.judges.judge import Plan, judge, route
from burnish_verifier.judges.library import Library, fitting
from burnish_verifier.judges.material import json_line
from burnish_verifier.judges.replies import Step
from burnish_verifier.judges.trace import Entry, read_material
from burnish_verifier.steps import CalibrationExample, GoldExample
from tests.unit.judges.judge_models import ScriptedModel, scores, shown, simulated

AB = Rubric(criteria=(Criterion(criterion_id="a", weight=3.0), Criterion(criterion_id="b")))


def trace_of(*texts: str) -> str:
    calls = [
        {"llm_request": {"messages": []},
         "llm_response": {"message": {"role": "assistant", "content": text}}}
        for text in texts
    ]  # fmt: skip
    return json.dumps({"event_history": calls})


def brief(output: object = "done", *texts: str, rubric: Rubric = AB, **more: Any) -> Brief:
    material = read_material(
        output=json.dumps(output).encode(), session_trace=trace_of(*texts) if texts else b""
    )
    return Brief(material=material, rubric=rubric, **more)


def rows(question: Question, name: str) -> list[Any]:
    text = shown(question)
    if f"<{name}>\n" not in text:
        return []
    inner = text.split(f"<{name}>\n")[1].split(f"\n</{name}>")[0]
    return [json.loads(line) for line in inner.splitlines()]


def test_size_chooses_the_route_and_a_named_mode_wins():
    assert [route("auto", size=size) for size in (50_000, 50_001, 500_000, 500_001)] == [
        "single", "map_reduce", "map_reduce", "rlm",
    ]  # fmt: skip
    assert route("few_shot", size=60_000) == "map_reduce"
    assert route("rlm", size=1) == "rlm"


async def test_a_single_judgement_is_one_call_and_a_weighted_sum():
    model = ScriptedModel(lambda _: scores(a=1.0, b=0.0))
    found = await judge(brief(), model, Plan())
    assert found.score == 0.75
    assert [(each.criterion_id, each.score, each.weight) for each in found.criteria] == [
        ("a", 1.0, 3.0),
        ("b", 0.0, 1.0),
    ]
    assert found.reason == "b: r"
    assert len(model.asked) == 1
    assert rows(model.asked[0], "answer") == ["done"]


async def test_votes_differ_in_their_prompts_and_are_averaged():
    values = iter([1.0, 0.5, 0.0])
    model = ScriptedModel(lambda _: scores(a=next(values), b=1.0))
    found = await judge(brief(), model, Plan(votes=3, seed=7))
    assert found.score == pytest.approx(0.625)
    assert len({shown(question) for question in model.asked}) == 3
    assert [question.seed for question in model.asked] == [7, 8, 9]
    firsts = [rows(question, "criteria")[0]["id"] for question in model.asked]
    assert sorted(firsts) == ["a", "a", "b"]


async def test_a_repeat_asks_anew_and_the_same_repeat_asks_the_same():
    model = ScriptedModel(lambda _: scores(a=1.0, b=1.0))
    for repeat in (0, 1, 1):
        await judge(brief(), model, Plan(repeat=repeat))
    first, second, third = map(shown, model.asked)
    assert first != second == third


def test_rotation_keeps_every_item():
    assert rotated("abc", 4) == ["b", "c", "a"]
    assert rotated("", 2) == []


async def test_a_reply_in_another_form_is_asked_for_once_more_and_then_fails():
    replies: Iterator[Any] = iter(["1.0", scores(a=1.0, b=1.0), "{}", "{}"])
    model = ScriptedModel(lambda _: next(replies))
    assert (await judge(brief(), model, Plan())).score == 1.0
    assert "<refused>an object is missing</refused>" in shown(model.asked[1])
    with pytest.raises(JudgeReplyInvalid, match="keys are missing"):
        await judge(brief(), model, Plan())
    assert len(model.asked) == 4


async def test_a_reply_that_was_cut_says_so():
    model = ScriptedModel(lambda _: '{"criteria": {', finish="length")
    with pytest.raises(JudgeReplyInvalid, match="cut at the output limit"):
        await judge(brief(), model, Plan())


async def test_one_failed_vote_fails_the_judgement():
    answers: Iterator[Any] = iter([scores(a=1.0, b=1.0), Unavailable("away"), scores(a=1.0, b=1.0)])
    model = ScriptedModel(lambda _: next(answers))
    with pytest.raises(Unavailable, match="away"):
        await judge(brief(), model, Plan(votes=3))


async def test_sum_is_cut_at_1_and_custom_has_no_score():
    model = ScriptedModel(lambda _: scores(a=1.0, b=0.5))
    summed = await judge(brief(rubric=replace(AB, aggregation="sum")), model, Plan())
    custom = await judge(brief(rubric=replace(AB, aggregation="custom")), model, Plan())
    assert (summed.score, custom.score) == (1.0, None)
    assert [each.score for each in custom.criteria] == [1.0, 0.5]


async def test_a_long_trace_is_read_in_parts_and_what_was_found_is_judged():
    def answer(question: Question) -> dict[str, Any]:
        if question.name == "part":
            place = rows(question, "part")[0]["part"]
            return {"criteria": {"a": {"reason": f"part {place}", "score": 1.0},
                                 "b": {"reason": "nothing", "score": None}}}  # fmt: skip
        return scores(a=1.0, b=0.0)

    model = ScriptedModel(answer)
    texts = [f"call {i} " + "x" * 4000 for i in range(6)]
    found = await judge(brief("done", *texts, part_tokens=2_500), model, Plan(mode="map_reduce"))
    assert found.score == 0.75
    names = [question.name for question in model.asked]
    assert names == ["part"] * 3 + ["reduce"]
    read = [row["text"] for question in model.asked for row in rows(question, "trace")]
    assert read == texts
    noted = [(row["part"], row["id"], row["reason"]) for row in rows(model.asked[3], "findings")]
    assert noted == [(1, "a", "part 1"), (2, "a", "part 2"), (3, "a", "part 3")]


async def test_events_are_judged_one_by_one_beside_the_outcome():
    both = replace(AB, event_criteria=(Criterion(criterion_id="e"),))

    def answer(question: Question) -> dict[str, Any]:
        if question.name != "events":
            return scores(a=1.0, b=1.0)
        numbers = {row["event"] for row in rows(question, "events")}
        return {"events": {str(n): {"e": {"reason": "", "score": n / 100}} for n in numbers}}

    model = ScriptedModel(answer)
    found = await judge(brief("o", *map(str, range(50)), rubric=both), model, Plan())
    assert found.score == 1.0
    assert [review.event_index for review in found.event_reviews] == list(range(50))
    assert [review.total for review in found.event_reviews] == [n / 100 for n in range(50)]
    assert [question.name for question in model.asked].count("events") == 2


async def test_events_without_a_trace_are_none():
    only = Rubric(event_criteria=(Criterion(criterion_id="e"),))
    found = await judge(brief(rubric=only), simulated(), Plan())
    assert (found.score, found.event_reviews) == (None, ())


async def test_examples_are_shown_with_their_rewards():
    example = CalibrationExample(session_trace=trace_of("old"), outcome_reward=0.25)
    model = ScriptedModel(lambda _: scores(a=1.0, b=1.0))
    await judge(brief(calibration_examples=(example,)), model, Plan(mode="few_shot"))
    shown_row = rows(model.asked[0], "examples")[0]
    assert shown_row["outcome_reward"] == 0.25
    assert "old" in json.dumps(shown_row["trace"])


@pytest.mark.parametrize(
    ("win", "reward", "score"),
    [(0.5, 0.7, 0.7), (1.0, 0.7, 1.0), (0.0, 0.7, 0.0), (0.75, 0.6, 0.8), (0.25, 0.6, 0.3)],
)
def test_work_is_placed_by_how_it_fares_against_gold(win, reward, score):
    assert placed(reward, win) == pytest.approx(score)


GOLDS = (
    GoldExample(summary="best", gold_reward=1.0, gold_reasoning="never shown"),
    GoldExample(summary="worst", gold_reward=0.0),
)


async def test_comparisons_are_made_in_both_orders():
    def better(question: Question) -> dict[str, Any]:
        first = rows(question, "first")[0]["answer"]
        other = rows(question, "second")[0]["answer"]
        order = ["worst", "done", "best"]
        said = "first" if order.index(first) > order.index(other) else "second"
        return {"criteria": {name: {"reason": "r", "better": said} for name in "ab"}}

    model = ScriptedModel(better)
    found = await judge(brief(gold_examples=GOLDS), model, Plan(mode="contrastive"))
    assert found.score == 0.5
    assert found.notes == ()
    assert len(model.asked) == 4
    assert not any("never shown" in shown(question) for question in model.asked)


async def test_a_judge_that_likes_what_comes_first_moves_nothing_and_is_told_on():
    said = {"criteria": {name: {"reason": "r", "better": "first"} for name in "ab"}}
    found = await judge(
        brief(gold_examples=GOLDS[:1]), ScriptedModel(lambda _: said), Plan(mode="contrastive")
    )
    assert found.score == 1.0
    assert found.notes == ("2 of 2 comparisons changed with the order",)


async def test_a_long_trace_is_read_in_parts_before_it_is_compared():
    model = simulated()
    texts = ["x" * 80_000, "y" * 80_000]
    await judge(brief("o", *texts, gold_examples=GOLDS), model, Plan(mode="contrastive"))
    assert [question.name for question in model.asked].count("part") > 1


def test_a_library_lists_reads_and_searches():
    texts = ["alpha", "the Needle is here", "omega needle"]
    library = Library([Entry(event=i, role="user", text=text) for i, text in enumerate(texts)])
    assert library.overview() == {"entries": 3, "events": 3, "characters": 35}
    listed = library.do(Step(kind="list", entry=1), max_bytes=1000)
    assert [(row["entry"], row["opening"]) for row in listed] == [(1, texts[1]), (2, texts[2])]
    read = library.do(Step(kind="read", entry=1, start=4), max_bytes=1000)
    assert read[0]["text"] == "Needle is here"
    hits = library.do(Step(kind="search", text="NEEDLE"), max_bytes=1000)
    assert [(hit["entry"], hit["start"]) for hit in hits] == [(1, 0), (2, 0)]
    assert library.do(Step(kind="search", text="(.*)+$"), max_bytes=1000)[0]["found"] == 0
    assert library.do(Step(kind="read", entry=9), max_bytes=1000)[0]["found"] == 0
    assert library.holds(1, "the  Needle\nis")
    assert not library.holds(1, "needle")
    assert not library.holds(7, "the")


@given(st.text(max_size=300), st.sampled_from(["list", "read", "search"]), st.integers(0, 400))
def test_no_result_of_a_tool_is_larger_than_it_may_be(text, kind, limit):
    clean = text.encode(errors="ignore").decode()
    library = Library([Entry(event=0, role="user", text=clean * 3)] * 3)
    found = library.do(Step(kind=kind, text=clean[:2]), max_bytes=limit)
    assert sum(len(json_line(row).encode()) + 1 for row in found) <= limit
    assert fitting(found, max_bytes=limit) == found


def reading(*steps: dict[str, Any]) -> ScriptedModel:
    left = list(steps)

    def answer(question: Question) -> dict[str, Any]:
        if question.name == "explore":
            empty = {"step": "answer", "entry": 0, "start": 0, "text": ""}
            return {**empty, **left.pop(0)} if left else empty
        quotes = [
            {"entry": 3, "text": "the key is 42", "shows": "the key"},
            {"entry": 3, "text": "the key is 43", "shows": "made up"},
        ]
        return {**scores(a=1.0, b=1.0), "evidence": quotes}

    return ScriptedModel(answer)


LONG = ["noise " * 2000, "more " * 2000, "noise " * 2000, "so the key is 42, I think", "end"]


async def test_a_reading_judge_reads_what_it_asks_for_and_its_quotes_are_checked():
    model = reading({"step": "search", "text": "the key"}, {"step": "read", "entry": 3})
    found = await judge(brief("o", *LONG), model, Plan(mode="rlm"))
    assert found.score == 1.0
    assert [question.name for question in model.asked] == ["explore"] * 3 + ["conclude"]
    asked = rows(model.asked[-1], "read")
    assert any(row.get("for") == "the key" for row in asked)
    assert any(row.get("text") == LONG[3] for row in asked)
    assert [(each.snippet, each.iteration) for each in found.evidence] == [("the key is 42", 0)]
    assert found.notes == ("1 quotes of the judge are not in the trace",)


async def test_a_judge_that_takes_no_valid_step_is_asked_for_its_scores_at_once():
    model = reading({"step": "hack"}, {"step": "submit"}, {"step": "read"})
    found = await judge(brief("o", *LONG), model, Plan(mode="rlm"))
    assert found.score == 1.0
    assert [question.name for question in model.asked] == ["explore"] * 2 + ["conclude"]
    assert len({shown(question) for question in model.asked}) == 3


steps = st.lists(
    st.fixed_dictionaries({
        "step": st.sampled_from(["read", "list", "search", "nonsense"]),
        "entry": st.integers(0, 6),
        "start": st.integers(0, 5000),
        "text": st.sampled_from(["noise", "m", "the key", "\u4f60" * 300]),
    }), max_size=60,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(steps=steps, budget=st.integers(0, 60_000), usage=st.booleans())
async def test_a_reading_judge_never_uses_more_than_its_budget(steps, budget, usage):
    model = reading(*steps)
    model._usage = usage
    try:
        await judge(brief("o", *LONG), model, Plan(mode="rlm", token_budget=budget + 1))
    except JudgeBudgetExhausted:
        # Not even the rubric and the answer fit: then nothing was asked at all.
        assert model.asked == []
    most = sum(question.most_input_tokens + question.max_output_tokens for question in model.asked)
    assert (model.tokens if usage else most) <= budget + 1


@settings(max_examples=30, deadline=None)
@given(steps=steps, budget=st.integers(0, 120_000), votes=st.integers(1, 3))
async def test_reading_and_events_together_never_use_more_than_their_budget(steps, budget, votes):
    rubric = replace(AB, event_criteria=(Criterion(criterion_id="e"),))
    model = reading(*steps)
    inner = model._answer

    def answer(question: Question) -> Any:
        if question.name != "events":
            return inner(question)
        numbers = {row["event"] for row in rows(question, "events")}
        return {"events": {str(n): {"e": {"reason": "", "score": 0.5}} for n in numbers}}

    model._answer = answer
    with contextlib.suppress(JudgeBudgetExhausted):
        await judge(
            brief("o", *LONG, rubric=rubric),
            model,
            Plan(mode="rlm", token_budget=budget + 1, votes=votes),
        )
    assert model.tokens <= budget + 1


async def test_a_reading_judge_leaves_enough_for_events():
    rubric = replace(AB, event_criteria=(Criterion(criterion_id="e", description="Not empty"),))
    found = await judge(brief("o", *LONG, rubric=rubric), simulated(), Plan(mode="rlm", votes=2))
    assert len(found.event_reviews) == len(LONG)


@settings(max_examples=40, deadline=None)
@given(budget=st.integers(1, 40_000), votes=st.integers(1, 5), broken=st.booleans())
async def test_votes_together_never_use_more_than_their_budget(budget, votes, broken):
    model = ScriptedModel(lambda _: "{}" if broken else scores(a=1.0, b=1.0), usage=False)
    with contextlib.suppress(JudgeBudgetExhausted, JudgeReplyInvalid):
        await judge(brief("o" * 2000), model, Plan(votes=votes, token_budget=budget))
    most = [question.most_input_tokens + question.max_output_tokens for question in model.asked]
    assert sum(most) <= budget


async def test_events_of_a_long_trace_have_a_budget_of_their_own_beside_a_reading_judge():
    rubric = replace(AB, event_criteria=(Criterion(criterion_id="e", description="Not empty"),))
    texts = [f"line {number} " * 1000 for number in range(60)]
    model = simulated()
    found = await judge(brief("o", *texts, rubric=rubric), model, Plan(mode="rlm"))
    assert len(found.event_reviews) == 60
    by_name = Counter(question.name for question in model.asked)
    assert by_name["events"] > 1
    assert by_name["conclude"] == 1


async def test_a_budget_that_is_used_up_says_what_to_change():
    model = ScriptedModel(lambda _: scores(a=1.0, b=1.0))
    with pytest.raises(JudgeBudgetExhausted, match="raise `token_budget`") as caught:
        await judge(brief("o" * 9000), model, Plan(mode="single", token_budget=5_000))
    assert caught.value.metadata["token_budget"] == "5000"
    assert model.asked == []


@pytest.mark.parametrize(
    ("error", "spent"),
    [
        (ResourceExhausted("the job's budget"), False),
        (ProviderUnavailable("refused", not_sent=True), False),
        (ProviderUnavailable("lost on the way"), True),
    ],
)
async def test_only_a_call_that_may_have_been_paid_uses_the_budget(error, spent):
    purse = Purse(20_000)
    work = brief()
    with pytest.raises(type(error)):
        await single.review(work, Asker(ScriptedModel(lambda _: error), purse=purse), Draw())
    assert (purse.spent > 0) is spent
    assert purse.left == 20_000 - purse.spent


async def test_simulated_judge_serves_every_mode():
    rubric = Rubric(
        criteria=(
            Criterion(criterion_id="says", description='The trace mentions "the key"'),
            Criterion(criterion_id="short", description="At most 3 words"),
        ),
        event_criteria=(Criterion(criterion_id="e", description="Is not empty"),),
    )
    for mode in ("single", "map_reduce", "few_shot", "contrastive", "rlm"):
        model = simulated()
        found = await judge(
            brief("short answer", *LONG, rubric=rubric, gold_examples=GOLDS, part_tokens=2_000),
            model,
            Plan(mode=mode),
        )
        assert found.score is not None
        assert found.event_reviews[0].total == 1.0
        if mode != "contrastive":
            assert found.score == 1.0
        assert all("(simulated)" in each.reason for each in found.criteria)
