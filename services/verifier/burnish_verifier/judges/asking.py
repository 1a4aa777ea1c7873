"""Asks a judge model: within a budget of tokens, and again when a reply is in another form.

Before a call the most that it can use is set aside: a token has at least one byte, so the bytes of
the prompt bound its tokens from above. After it, what was used takes the place of what was set
aside. A call that does not fit is not made.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

from burnish.errors import BurnishError, FailedPrecondition, ResourceExhausted
from burnish_runtime.llm.base import ChatMessage, Completion, ProviderError
from burnish_runtime.llm.prompt_files import PromptFile
from burnish_verifier.judges.material import word_block
from burnish_verifier.judges.replies import ReplyInvalid, Schema

TRIES: Final = 2
_MESSAGE_TOKENS: Final = 16
_CALL_TOKENS: Final = 64
T = TypeVar("T")


class JudgeReplyInvalid(FailedPrecondition):
    """A judge's replies were not in the form that was asked for. Another repeat may do better."""

    default_reason = "JUDGE_REPLY_INVALID"


class JudgeBudgetExhausted(ResourceExhausted):
    """A judgement needs more tokens than it is given. Do not retry."""

    default_reason = "JUDGE_TOKEN_BUDGET"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a judge model is asked.

    Attributes:
        messages: At least one.
        schema: JSON schema that the reply has to follow.
        name: Name of the schema.
        max_output_tokens: Most tokens of the reply.
        seed: Asked of the provider; None asks for none.
    """

    messages: tuple[ChatMessage, ...] = field(repr=False)
    schema: Schema = field(repr=False)
    name: str
    max_output_tokens: int
    seed: int | None = None

    @property
    def most_input_tokens(self) -> int:
        """More tokens than any provider counts for the messages and the schema."""
        data = sum(len(each.content.encode()) + _MESSAGE_TOKENS for each in self.messages)
        return data + len(json.dumps(self.schema)) + _CALL_TOKENS


class JudgeModel(Protocol):
    """What judges. Calls are paid for, and equal questions of one rollout have equal replies."""

    async def ask(self, question: Question) -> Completion:
        """Asks once.

        Raises:
            BurnishError: There is no reply; says whether a retry may help.
        """


class Purse:
    """A budget of tokens that calls side by side share."""

    def __init__(self, limit: int) -> None:
        """Opens a purse.

        Args:
            limit: Most tokens that may be read and written.
        """
        self._limit = limit
        self._spent = 0
        self._aside = 0
        self._changed = asyncio.Condition()

    @property
    def spent(self) -> int:
        """Tokens of the calls that are over."""
        return self._spent

    @property
    def left(self) -> int:
        """Tokens that nothing is set aside for."""
        return self._limit - self._spent - self._aside

    async def take(self, tokens: int) -> None:
        """Sets tokens aside, once calls under way have given back what they do not need.

        Raises:
            JudgeBudgetExhausted: They do not fit.
        """
        async with self._changed:
            while self._spent + self._aside + tokens > self._limit:
                if not self._aside:
                    raise JudgeBudgetExhausted(
                        f"a judgement may use {self._limit} tokens; {self._spent} are used and its "
                        f"next call may need {tokens}: raise `token_budget`, or use mode `rlm`",
                        metadata={
                            "token_budget": str(self._limit),
                            "spent": str(self._spent),
                            "needed": str(tokens),
                        },
                    )
                await self._changed.wait()
            self._aside += tokens

    async def settle(self, *, aside: int, used: int) -> None:
        """Gives back what was set aside, and books what was used."""
        async with self._changed:
            self._aside -= aside
            self._spent += used
            self._changed.notify_all()


@dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """Which of several equal judgements this is; each has a prompt of its own.

    Attributes:
        repeat: Repeat of the whole judgement, from 0.
        vote: Vote, from 0.
    """

    repeat: int = 0
    vote: int = 0

    def block(self) -> str:
        """Returns the block that makes the prompt another; empty for the first of all."""
        if self.repeat == self.vote == 0:
            return ""
        return word_block("draw", f"{self.repeat + 1}.{self.vote + 1}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Inquiry:
    """One thing to be asked.

    Attributes:
        prompt: The prompt.
        blocks: Its blocks.
        schema: What the reply follows.
        task: Name of what is asked, for the model and for the schema.
        max_output_tokens: Most tokens of the reply.
    """

    prompt: PromptFile
    blocks: Mapping[str, str] = field(repr=False)
    schema: Schema = field(repr=False)
    task: str
    max_output_tokens: int

    def question(self, draw: Draw, *, seed: int | None, refused: str = "") -> Question:
        """Returns the question as it is sent.

        Args:
            draw: Which of several equal ones.
            seed: Asked of the provider.
            refused: Why the reply before could not be used.
        """
        blocks = {
            **self.blocks,
            "task": word_block("task", self.task),
            "draw": draw.block(),
            "refused": word_block("refused", refused) if refused else "",
        }
        return Question(
            messages=self.prompt.render(blocks),
            schema=self.schema,
            name=self.task,
            max_output_tokens=self.max_output_tokens,
            seed=None if seed is None else (seed + draw.vote) & 0x7FFF_FFFF,
        )


class Asker:
    """Asks one model for one judgement."""

    def __init__(self, model: JudgeModel, *, purse: Purse, seed: int | None = None) -> None:
        self._model = model
        self._purse = purse
        self._seed = seed

    @property
    def purse(self) -> Purse:
        """The budget."""
        return self._purse

    def most_tokens(self, inquiry: Inquiry, draw: Draw) -> int:
        """Returns the most tokens that asking once can use."""
        question = inquiry.question(draw, seed=self._seed)
        return question.most_input_tokens + question.max_output_tokens

    async def ask(
        self, inquiry: Inquiry, *, draw: Draw, read: Callable[[str], T], tries: int = TRIES
    ) -> T:
        """Asks, and again when the reply cannot be read.

        Args:
            inquiry: What is asked.
            draw: Which of several equal judgements this belongs to.
            read: Reads the reply.
            tries: How often it is asked at most.

        Raises:
            JudgeReplyInvalid: No reply could be read.
            JudgeBudgetExhausted: The budget is used up.
            BurnishError: The model gave no reply.
        """
        refused = ""
        for _ in range(tries):
            completion = await self._paid(inquiry.question(draw, seed=self._seed, refused=refused))
            try:
                return read(completion.text)
            except ReplyInvalid as error:
                ended = completion.finish_reason in ("length", "max_tokens")
                refused = "it was cut at the output limit" if ended else str(error)
        raise JudgeReplyInvalid(
            f"the judge's reply to `{inquiry.task}` cannot be used: {refused}; "
            "use a model that keeps to a JSON schema",
            metadata={"task": inquiry.task, "problem": refused},
        )

    async def _paid(self, question: Question) -> Completion:
        aside = question.most_input_tokens + question.max_output_tokens
        await self._purse.take(aside)
        # A call that failed may have been paid for in full.
        used = aside
        try:
            completion = await self._model.ask(question)
            if completion.usage is not None:
                used = completion.usage.input_tokens + completion.usage.output_tokens
            return completion
        except BurnishError as error:
            if not isinstance(error, ProviderError) or error.not_sent:
                used = 0
            raise
        finally:
            await self._purse.settle(aside=aside, used=used)
