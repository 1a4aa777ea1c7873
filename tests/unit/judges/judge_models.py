"""Judge models for tests: scripted ones, and the simulated judge without a server."""

import json
from collections.abc import Callable
from typing import Any

from burnish.errors import BurnishError
from burnish.local.judge import judge
from burnish_runtime.llm.base import Completion, TokenUsage
from burnish_verifier.judges.asking import Question


class ScriptedModel:
    """Answers each question by a function, and counts tokens as one for every four bytes."""

    def __init__(
        self,
        answer: Callable[[Question], str | dict[str, Any] | BurnishError],
        *,
        usage: bool = True,
        finish: str = "stop",
    ) -> None:
        self._answer = answer
        self._usage = usage
        self._finish = finish
        self.asked: list[Question] = []
        self.tokens = 0

    async def ask(self, question: Question) -> Completion:
        self.asked.append(question)
        found = self._answer(question)
        if isinstance(found, BurnishError):
            raise found
        text = found if isinstance(found, str) else json.dumps(found)
        read = sum(len(each.content.encode()) for each in question.messages) // 4
        usage = TokenUsage(input_tokens=read, output_tokens=len(text.encode()) // 4)
        self.tokens += usage.input_tokens + usage.output_tokens
        return Completion(
            text=text, body=b"{}", usage=usage if self._usage else None, finish_reason=self._finish
        )


def shown(question: Question) -> str:
    """Returns the user's side of a question."""
    return "\n".join(each.content for each in question.messages if each.role == "user")


def simulated() -> ScriptedModel:
    """Returns the simulated judge, without a server."""
    return ScriptedModel(lambda question: judge(shown(question)))


def scores(**by_id: float) -> dict[str, Any]:
    """Returns a review."""
    return {"criteria": {name: {"reason": "r", "score": score} for name, score in by_id.items()}}
