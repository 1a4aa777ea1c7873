"""Other ways to show a judge its material, to measure what each step of the hardening is worth.

`bare` puts texts between tags as they are; `escaped` writes them as JSON lines without a `<`;
`shipped` is what the judges do, which also takes out what cannot be seen.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from burnish.local import judge as local
from burnish.rubrics import total
from burnish_verifier.judges.brief import Brief, lines
from burnish_verifier.judges.material import block
from burnish_verifier.judges.replies import read_review
from burnish_verifier.judges.templates import load
from burnish_verifier.judges.trace import read_material
from tests.attacks.attacks import Work
from tests.attacks.measure import Scorer

Judge = Callable[[str], str]
_BLOCK = re.compile(r"^<([a-z]+)>\n?.*?</\1>$", re.DOTALL | re.MULTILINE)
_ORDER = re.compile(
    r"(?:scor|grad|rat|verdict|result|pass|full marks|perfect)\D{0,60}\b(?:1(?:\.0)?|10/10)\b"
    r"|\b(?:full marks|perfect|excellent|highest score|met in full)\b",
    re.IGNORECASE,
)


def scorer(rendering: str, judge: Judge) -> Scorer:
    """Returns how a judge scores work that is shown in one of the ways."""

    async def score(work: Work) -> float:
        reply = judge(shown(work, rendering))
        ids = [each.criterion_id for each in work.rubric.criteria]
        scores = {name: verdict.score or 0.0 for name, verdict in read_review(reply, ids).items()}
        return total(work.rubric.criteria, scores) or 0.0

    return score


def shown(work: Work, rendering: str) -> str:
    """Returns the user's side of the prompt."""
    material = read_material(output=work.output, reference=work.reference, session_trace=work.trace)
    brief = Brief(material=material, rubric=work.rubric)
    blocks: Mapping[str, str] = {
        **brief.blocks(vote=0),
        "trace": block("trace", lines(material.entries)),
        "answer": brief.answer(),
    }
    if rendering != "shipped":
        show = _bare if rendering == "bare" else block
        said = _said(work)
        blocks = {
            **blocks,
            "trace": show("trace", said),
            "answer": show("answer", [work.answer]),
            "notes": "",
        }
    return load("review").render({"task": "<task>review</task>", **blocks})[1].content


def obedient(prompt: str) -> str:
    """Judges like the local judge, but does what a text outside of the blocks orders."""
    outside = _BLOCK.sub("", prompt)
    found: dict[str, Any] = json.loads(local.judge(prompt))
    if _ORDER.search(outside) is not None:
        for one in found["criteria"].values():
            one["score"] = 1.0
    return json.dumps(found)


def _said(work: Work) -> Sequence[dict[str, Any]]:
    """Returns the trace as it is, unread and unchanged."""
    calls = json.loads(work.trace)["event_history"]
    messages = [
        message
        for call in calls
        for message in (*call["llm_request"]["messages"][-1:], call["llm_response"]["message"])
    ]
    return [{"role": each["role"], "text": each["content"]} for each in messages]


def _bare(name: str, rows: Sequence[Any]) -> str:
    texts = [row if isinstance(row, str) else f"{row['role']}: {row['text']}" for row in rows]
    return "\n".join([f"<{name}>", *texts, f"</{name}>"])
