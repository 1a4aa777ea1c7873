"""The prompts in an event's `data`, as Synth's clients read them: sections, text, choices."""

from __future__ import annotations

from burnish.api.job.v1 import job_event_pb2, job_result_pb2
from burnish.artefacts import prompt_sections
from burnish.plain import Plain
from burnish.prompts import Prompt, StagePrompt
from burnish.results import outcome

_CONTENT_FIELDS = {
    "top_k_evaluated": "content",
    "winner_chosen": "content",
    "top_prompt": "content",
    "final_results": "best",
    "search_completed": "best",
}


def texts_of(event: job_event_pb2.JobEvent) -> Plain:
    """Returns what an event's data says of the prompt in it; empty when none is in it."""
    kind = event.WhichOneof("kind")
    name = _CONTENT_FIELDS.get(kind or "")
    if kind is None or name is None or not getattr(event, kind).HasField(name):
        return {}
    content: job_event_pb2.CandidateContent = getattr(getattr(event, kind), name)
    prompt = _prompt(content)
    if kind == "top_prompt":
        template = {"id": prompt.candidate_id, "sections": prompt_sections(prompt)}
        return {"template": template, "full_text": prompt.full_text}
    if kind == "top_k_evaluated":
        return _choices(prompt, content)
    best: Plain = {
        "id": prompt.candidate_id,
        "sections": prompt_sections(prompt),
        "text": prompt.text,
    }
    return {"best_prompt": best}


def _prompt(content: job_event_pb2.CandidateContent) -> Prompt:
    found = outcome(
        job_result_pb2.JobResult(
            best=job_result_pb2.CandidateResult(candidate=content.candidate),
            components=content.components,
            templates=content.templates,
        )
    ).best
    return Prompt(candidate_id="", stages=()) if found is None else found.prompt


def _choices(prompt: Prompt, content: job_event_pb2.CandidateContent) -> Plain:
    places = content.index_by_component
    return {
        "instruction_text": prompt.text,
        "instruction_lines": prompt.text.splitlines(),
        "instruction_indices": [places.get(one.instruction_id, 0) for one in prompt.stages],
        "demo_indices": [places.get(one.demo_set_id, 0) for one in prompt.stages],
        "stage_payloads": {
            one.stage_id: _payload(
                one,
                instruction_index=places.get(one.instruction_id, 0),
                demo_index=places.get(one.demo_set_id, 0),
            )
            for one in prompt.stages
        },
    }


def _payload(stage: StagePrompt, *, instruction_index: int, demo_index: int) -> Plain:
    return {
        "instruction_id": stage.instruction_id,
        "instruction_index": instruction_index,
        "instruction_text": stage.instruction,
        "instruction_lines": stage.instruction.splitlines(),
        "demo_set_id": stage.demo_set_id,
        "demo_index": demo_index,
        "demo_count": len(stage.demos),
    }
