"""What is wrong with how a job says its instructions are to be written."""

from __future__ import annotations

import math
from collections.abc import Iterator

from burnish.api.job import v1 as job_v1
from burnish.api.proposer import v1 as proposer_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import InvalidArgument
from burnish_controller.context import SYSTEM_ROLES
from burnish_controller.external import BUILT_IN
from burnish_controller.peers import CALL_SECONDS, Peers, patiently

_MOST_REFERENCE_BYTES = 2_000_000
_MOST_TEMPERATURE = 2.0


async def proposer_problems(spec: job_v1.ProposerSpec, peers: Peers) -> list[str]:
    """Returns what is wrong with a job's proposer: an unknown name, a setting out of its range."""
    problems = list(_setting_problems(spec))
    if spec.meta_prompt:
        problems += await _meta_prompt_problems(spec, peers)
    name = spec.proposer
    if not name or name == BUILT_IN or name in peers.external_proposers:
        return problems
    request = proposer_v1.ListProposersRequest()
    answer = await patiently(lambda: peers.proposer.ListProposers(request, timeout=CALL_SECONDS))
    installed = [one.name for one in answer.proposers]
    if name not in installed:
        known = ", ".join([*installed, *peers.external_proposers])
        problems.append(
            f"`proposer.proposer` is `{name}`, which is neither installed nor set up by the"
            f" operator; use one of {known}"
        )
    return problems


async def _meta_prompt_problems(spec: job_v1.ProposerSpec, peers: Peers) -> list[str]:
    """Has the proposer judge a meta-prompt, by a request that writes nothing and costs nothing."""
    request = proposer_v1.ProposeInstructionsRequest(
        context=proposer_v1.ProposalContext(
            job="jobs/check",
            request_id="check",
            attempt=1,
            effort=spec.effort,
            output_tier=spec.output_tier,
            meta_model=types_v1.ModelSpec(provider="local", model="local-proposer"),
        ),
        stage=proposer_v1.StageBrief(stage_id="check"),
        count=1,
        given_texts=["check"],
        meta_prompt=spec.meta_prompt,
    )

    async def check() -> None:
        async for _ in peers.proposer.ProposeInstructions(request, timeout=CALL_SECONDS):
            pass

    try:
        await patiently(check)
    except InvalidArgument as error:
        return [f"`proposer.meta_prompt`: {error.message}"]
    return []


def protected_problems(spec: job_v1.JobSpec) -> Iterator[str]:
    """Yields protected texts that no proposal could keep: the baseline does not hold them."""
    for number, stage in enumerate(spec.stages):
        messages = stage.template.messages
        said = " ".join(one.pattern for one in messages if one.role in SYSTEM_ROLES)
        for place, text in enumerate(stage.protected_texts):
            where = f"`stages[{number}].protected_texts[{place}]`"
            if not text.strip():
                yield f"{where} is empty; leave it out"
            elif messages and " ".join(text.split()) not in " ".join(said.split()):
                yield f"{where} is not in the stage's instruction; copy it word for word"


def _setting_problems(spec: job_v1.ProposerSpec) -> Iterator[str]:
    for name in ("max_instruction_count", "max_instruction_tokens", "retry_limit"):
        value = getattr(spec, name)
        if value < 0:
            yield f"`proposer.{name}` is {value}; use a number of at least 0"
    if spec.HasField("temperature") and not 0 <= spec.temperature <= _MOST_TEMPERATURE:
        yield f"`proposer.temperature` is {spec.temperature}; use a number in [0, 2]"
    size = sum(len(text.encode()) for text in spec.reference_texts)
    if size > _MOST_REFERENCE_BYTES:
        yield f"`proposer.reference_texts` have {size} bytes; use at most {_MOST_REFERENCE_BYTES}"
    update = spec.meta_update
    for name in ("success_count", "failure_count", "screen_row_count", "max_kept_count"):
        value = getattr(update, name)
        if value < 0:
            yield f"`proposer.meta_update.{name}` is {value}; use a number of at least 0"
    overlap, decay = update.duplicate_overlap, update.temperature_decay
    if update.HasField("duplicate_overlap") and not 0 < overlap <= 1:
        yield f"`proposer.meta_update.duplicate_overlap` is {overlap}; use a number in (0, 1]"
    if update.HasField("temperature_decay") and not (math.isfinite(decay) and 0 < decay <= 2):
        yield f"`proposer.meta_update.temperature_decay` is {decay}; use a number in (0, 2]"
