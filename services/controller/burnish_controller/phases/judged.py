"""Instructions of a proposer outside the suite, put before the suite's own guards.

Whoever wrote an instruction, it joins the search only when its placeholders, its protected regions
and its length are as they must be, and when it neither quotes the data nor holds an attack.
"""

from __future__ import annotations

from collections.abc import Sequence

from burnish.api.proposer import v1 as proposer_v1
from burnish_controller.context import JobContext
from burnish_controller.peers import patiently
from burnish_controller.phases.base import PhaseServices

_SECONDS = 120.0
_NO_MODEL = "local-proposer"


async def judged(
    services: PhaseServices,
    job: JobContext,
    request: proposer_v1.ProposeInstructionsRequest,
    responses: Sequence[proposer_v1.ProposeInstructionsResponse],
) -> list[proposer_v1.ProposeInstructionsResponse]:
    """Returns what came of an external proposer's instructions, and its own refusals and summary.

    Args:
        services: What the phases work with.
        job: The job.
        request: What the proposer was asked.
        responses: What it streamed.
    """
    name = job.spec.proposer.proposer
    written = [one.instruction for one in responses if one.instruction.index > 0]
    written = written[: request.count]
    kept = [one for one in responses if one.HasField("refusal")]
    described = [one.summary.description for one in responses if one.HasField("summary")]
    if written:
        asked = proposer_v1.ProposeInstructionsRequest()
        asked.CopyFrom(request)
        asked.count, asked.retry_limit = len(written), 0
        asked.given_texts.extend(one.text for one in written)
        # No model is called, so which one a user's settings name does not matter here.
        asked.context.meta_model.Clear()
        asked.context.meta_model.provider, asked.context.meta_model.model = "local", _NO_MODEL

        async def check() -> list[proposer_v1.ProposeInstructionsResponse]:
            stream = services.peers.proposer.ProposeInstructions(asked, timeout=_SECONDS)
            return [response async for response in stream]

        for one in await patiently(check):
            if one.HasField("refusal"):
                kept.append(one)
            elif one.instruction.index > 0:
                source = written[one.instruction.index - 1]
                one.instruction.rationale = source.rationale
                one.instruction.tip = source.tip
                one.instruction.model = f"{name} ({source.model})" if source.model else name
                kept.append(one)
    told = f"`{name}`, outside the suite"
    if described and described[-1]:
        told += f": {described[-1]}"
    summary = proposer_v1.ProposalSummary(description=told)
    return [*kept, proposer_v1.ProposeInstructionsResponse(summary=summary)]
