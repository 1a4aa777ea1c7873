"""What is wrong with how a job says its instructions are to be written."""

from types import SimpleNamespace
from typing import Any

import pytest

from burnish.api.job import v1 as job_v1
from burnish.api.proposer import v1 as proposer_v1
from burnish.errors import InvalidArgument
from burnish_controller.proposer_spec import proposer_problems, protected_problems


class Proposer:
    """Lists one plug-in, and refuses meta-prompts that say so."""

    def __init__(self) -> None:
        self.asked: list[proposer_v1.ProposeInstructionsRequest] = []

    async def ListProposers(self, request, timeout):  # noqa: ASYNC109 - as on a stub
        names = ("grounded", "louder")
        return proposer_v1.ListProposersResponse(
            proposers=[proposer_v1.Proposer(name=name) for name in names]
        )

    async def ProposeInstructions(self, request, timeout):  # noqa: ASYNC109 - as on a stub
        self.asked.append(request)
        if "bad" in request.meta_prompt:
            raise InvalidArgument("`meta_prompt`: nothing fills the placeholders rows")
        yield proposer_v1.ProposeInstructionsResponse()


async def problems(**fields):
    proposer = Proposer()
    peers: Any = SimpleNamespace(proposer=proposer, external_proposers={"mine": None})
    return await proposer_problems(job_v1.ProposerSpec(**fields), peers), proposer.asked


@pytest.mark.parametrize("name", ["", "grounded", "louder", "mine"])
async def test_a_proposer_that_is_there_is_taken(name):
    assert (await problems(proposer=name))[0] == []


async def test_an_unknown_proposer_is_refused_with_those_that_are_there():
    (problem,), _ = await problems(proposer="yours")
    assert "`yours`" in problem
    assert "grounded, louder, mine" in problem


async def test_a_meta_prompt_is_judged_before_the_job_begins_without_a_call_of_a_model():
    found, asked = await problems(meta_prompt="version: 1\n=== user\nbad")
    assert found == ["`proposer.meta_prompt`: `meta_prompt`: nothing fills the placeholders rows"]
    assert list(asked[0].given_texts) == ["check"]
    assert (await problems(meta_prompt="version: 1\n=== user\nfine"))[0] == []
    assert (await problems())[1] == []


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"max_instruction_count": -1}, "max_instruction_count"),
        ({"max_instruction_tokens": -1}, "max_instruction_tokens"),
        ({"temperature": 2.5}, "proposer.temperature"),
        ({"reference_texts": ["x" * 2_000_001]}, "reference_texts"),
        ({"meta_update": job_v1.MetaUpdate(screen_row_count=-1)}, "screen_row_count"),
        ({"meta_update": job_v1.MetaUpdate(temperature_decay=float("nan"))}, "temperature_decay"),
    ],
)
async def test_settings_out_of_their_range_are_told(fields, words):
    (problem,), _ = await problems(**fields)
    assert words in problem


def test_protected_texts_are_looked_for_with_any_white_space(make_spec):
    spec = make_spec()
    spec.stages[0].template.messages[0].pattern = "Sort it.\n  Never   guess."
    spec.stages[0].protected_texts.extend(["Never guess.", "Sort it. Never", "never guess."])
    (problem,) = protected_problems(spec)
    assert "protected_texts[2]" in problem
