"""Programs with several stages, their calls interleaved over one interceptor."""

import asyncio
from dataclasses import replace
from typing import Any

import openai
import pytest
from openai import AsyncOpenAI

from burnish.api.policy.v1 import policy_service_pb2 as policy_v1
from burnish.api.types.v1 import candidate_pb2
from burnish_interceptor import testing
from burnish_interceptor.testing import BASELINE, CANDIDATE

REPLY = "Write a short and polite reply to the customer, and name the intent that was found."


def two_stages() -> policy_v1.Policy:
    reply = testing.stage_policy("reply", system=REPLY, user="Query: {query}\nIntent: {intent}")
    reply.model.model = "gpt-y"
    return testing.offline_policy(testing.stage_policy(), reply)


def both(first: str, second: str) -> policy_v1.CandidatePrompts:
    """Returns one candidate with an instruction for each of the two stages."""
    merged = testing.prompts(first)
    other = testing.prompts(second, stage_id="reply")
    other.candidate.stages["reply"].instruction_id = "ins2"
    other.candidate.stages["reply"].demo_set_id = "dem2"
    for component, name in zip(other.components, ("ins2", "dem2"), strict=True):
        component.component_id = name
    merged.MergeFrom(other)
    return merged


async def run_program(running: Any, number: int) -> None:
    grant = replace(running.grant, rollout_id=f"roll_{number}")
    async with AsyncOpenAI(base_url=running.url(grant), api_key="x", max_retries=0) as openai:
        for system, user in ((BASELINE, "Query: q{}"), (REPLY, "Query: q{}\nIntent: i{}")):
            await openai.chat.completions.create(
                model="m",
                messages=[
                    {"role": "system", "content": system},
                    {"role": "user", "content": user.format(number, number)},
                ],
            )


async def test_each_stage_gets_its_own_instruction_and_model():
    async with testing.suite() as running:
        running.controller.policies["policies/job-1"] = two_stages()
        running.controller.candidates[CANDIDATE] = both("First.", "Second.")
        await asyncio.gather(*(run_program(running, number) for number in range(12)))
        sent = [(b["model"], b["messages"][0]["content"]) for b in running.provider.bodies]
        assert sorted(sent) == [("gpt-x", "First.")] * 12 + [("gpt-y", "Second.")] * 12
        traces = [finish.trace for finish in running.controller.finished]
        assert sorted(trace.stage_id for trace in traces) == ["classify"] * 12 + ["reply"] * 12
        assert {dict(t.bindings)["intent"] for t in traces if t.stage_id == "reply"} == {
            f"i{number}" for number in range(12)
        }


async def test_a_stage_that_is_not_optimised_passes_unchanged_but_is_recognised():
    async with testing.suite(instruction="First.") as running:
        policy = two_stages()
        policy.stages[1].optimised = False
        running.controller.policies["policies/job-1"] = policy
        await run_program(running, 1)
        assert [b["messages"][0]["content"] for b in running.provider.bodies] == ["First.", REPLY]
        second = running.controller.finished[1].trace
        assert (second.stage_id, second.candidate_id) == ("reply", "")


async def test_an_optimised_stage_that_the_candidate_lacks_counts_as_unmatched():
    async with testing.suite(instruction="First.") as running:
        running.controller.policies["policies/job-1"] = two_stages()
        await run_program(running, 1)
        second = running.controller.finished[1].trace
        assert (second.stage_id, second.candidate_id) == ("", "")


async def test_stages_with_the_same_text_take_turns_within_each_rollout():
    async with testing.suite() as running:
        twins = [testing.stage_policy(), testing.stage_policy("reply")]
        running.controller.policies["policies/job-1"] = testing.offline_policy(*twins)
        running.controller.candidates[CANDIDATE] = both("First.", "Second.")
        async with AsyncOpenAI(base_url=running.url(), api_key="x", max_retries=0) as openai:
            for query in ("a", "b"):
                await openai.chat.completions.create(
                    model="m",
                    messages=[
                        {"role": "system", "content": BASELINE},
                        {"role": "user", "content": f"Query: {query}"},
                    ],
                )
        sent = [body["messages"][0]["content"] for body in running.provider.bodies]
        assert sent == ["First.", "Second."]


async def test_in_an_attempt_older_than_the_process_stages_of_equal_text_stay_unmatched():
    async with testing.suite() as running:
        twins = [testing.stage_policy(), testing.stage_policy("reply")]
        running.controller.policies["policies/job-1"] = testing.offline_policy(*twins)
        running.controller.candidates[CANDIDATE] = both("First.", "Second.")
        before = replace(running.grant, issue_time=running.grant.issue_time - 60)
        url = running.url(before)
        async with AsyncOpenAI(base_url=url, api_key="x", max_retries=0) as client:
            await client.chat.completions.create(
                model="m",
                messages=[
                    {"role": "system", "content": BASELINE},
                    {"role": "user", "content": "Query: a"},
                ],
            )
        assert running.provider.bodies[0]["messages"][0]["content"] == BASELINE
        assert running.controller.finished[0].trace.stage_id == ""


def with_form(**form: Any) -> policy_v1.CandidatePrompts:
    """Returns a candidate whose instruction has another form than a text."""
    found = testing.prompts("")
    found.components[0].instruction.CopyFrom(candidate_pb2.Instruction(**form))
    return found


async def sent_with(running: Any, **form: Any) -> list[tuple[str, str]]:
    running.controller.candidates[CANDIDATE] = with_form(**form)
    async with AsyncOpenAI(base_url=running.url(), api_key="x", max_retries=0) as client:
        await client.chat.completions.create(
            model="m",
            messages=[
                {"role": "system", "content": BASELINE},
                {"role": "user", "content": "Query: where is it"},
            ],
        )
    return [(one["role"], one["content"]) for one in running.provider.bodies[-1]["messages"]]


async def test_sections_of_a_candidate_go_out_with_the_apps_values():
    async with testing.suite() as running:
        sections = [
            candidate_pb2.PromptSection(role="system", content="Name the intent."),
            candidate_pb2.PromptSection(role="user", content="Customer: {query}", order=1),
        ]
        assert await sent_with(running, sections=sections) == [
            ("system", "Name the intent."),
            ("user", "Customer: where is it"),
        ]


async def test_replacements_of_a_candidate_are_made_in_the_apps_text():
    async with testing.suite() as running:
        one = candidate_pb2.TextReplacement(old_text=BASELINE[-11:], new_text="two intents.")
        transform = candidate_pb2.TextTransform(replacements=[one])
        sent = await sent_with(running, transform=transform)
        assert sent[0] == ("system", BASELINE[:-11] + "two intents.")
        assert running.controller.finished[-1].trace.candidate_id == CANDIDATE


async def test_replacements_that_find_nothing_count_as_unmatched_or_fail_when_strict():
    async with testing.suite() as running:
        one = candidate_pb2.TextReplacement(old_text="nowhere to be found", new_text="x")
        lenient = candidate_pb2.TextTransform(replacements=[one])
        assert (await sent_with(running, transform=lenient))[0] == ("system", BASELINE)
        trace = running.controller.finished[-1].trace
        assert (trace.stage_id, trace.candidate_id) == ("", "")
    async with testing.suite() as running:
        strict = candidate_pb2.TextTransform(replacements=[one], strict=True)
        with pytest.raises(openai.APIStatusError):
            await sent_with(running, transform=strict)
        assert running.provider.bodies == []
        assert running.controller.finished[-1].failure.reason == "REPLACEMENT_UNFOUND"


async def test_a_call_of_no_stage_passes_through_and_says_so():
    async with testing.suite(instruction="First.") as running:
        async with AsyncOpenAI(base_url=running.url(), api_key="x", max_retries=0) as client:
            await client.chat.completions.create(
                model="m", messages=[{"role": "user", "content": "Tell me a joke."}]
            )
        assert running.provider.bodies[0]["messages"][0]["content"] == "Tell me a joke."
        trace = running.controller.finished[0].trace
        assert (trace.stage_id, trace.candidate_id) == ("", "")
