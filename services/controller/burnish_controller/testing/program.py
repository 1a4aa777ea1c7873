"""A task app and the interceptor in one: its calls go through the controller's real call ledger."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Sequence
from enum import Enum

from burnish.api.ledger import v1 as ledger_v1
from burnish.api.policy import v1 as policy_v1
from burnish.api.types import v1 as types_v1
from burnish_controller.proxies.models import job_of
from burnish_controller.task_apps import (
    AppExample,
    AppFailure,
    AppInfo,
    AppProgram,
    AppResult,
    RunRequest,
    TaskAppUnhealthy,
)
from burnish_runtime.ledger_client import LedgerClient
from burnish_runtime.rollout_token import TokenSealer

_SECONDS = 20.0


class Fate(Enum):
    """What becomes of one call."""

    ANSWERED = "answered"
    UNSENT = "unsent"
    LOST = "lost"


class FakeProgram:
    """A program of one stage. `connect` gives it to the controller as a task app.

    Attributes:
        paid: How often each call reached the model, by candidate and seed.
        fate: Decides what becomes of a call, by its number from 0.
        gate: Cleared, it holds every rollout before its call.
        healthy: Whether the app says that it is well.
        seed_count: Rows that the app tells of; None tells of none.
        mix_up: The app answers with another rollout's result.
        reward: Reward by instruction and seed.
        low_reward: The same on the cheap model of the job's policy.
        models: How often the app was told of each model.
        usage: Tokens in and out of an answered call, by seed.
        delay: Seconds that an answered call takes, by seed.
        price: Price that its calls state; None states none.
        opened: How many clients were opened, and how many closed.
    """

    def __init__(self, sealer: TokenSealer) -> None:
        self.paid: Counter[tuple[str, int]] = Counter()
        self.fate: Callable[[int], Fate] = lambda number: Fate.ANSWERED
        self.gate = asyncio.Event()
        self.gate.set()
        self.healthy = True
        self.seed_count: int | None = None
        self.mix_up = False
        self.reward: Callable[[str, int], float] = _usual_reward
        self.low_reward: Callable[[str, int], float] = _usual_reward
        self.models: Counter[str] = Counter()
        self.usage: Callable[[int], tuple[int, int]] = lambda seed: (30, 20)
        self.delay: Callable[[int], float] = lambda seed: 0.0
        self.price: types_v1.Price | None = PRICE
        self.opened: Counter[str] = Counter()
        self.running = 0
        self._sealer = sealer
        self._calls = 0
        self._ledger: LedgerClient | None = None
        self._policies: policy_v1.PolicyServiceStub | None = None

    def connect(self, uri: str, api_key: str | None) -> FakeProgram:
        """Opens a client, as the controller does."""
        self.opened["opened"] += 1
        return self

    def attach(self, ledger: LedgerClient, policies: policy_v1.PolicyServiceStub) -> None:
        """Sends calls through a controller from now on."""
        self._ledger, self._policies = ledger, policies

    async def check(self) -> AppInfo:
        """Says whether it is well."""
        self._require_well()
        return AppInfo(task="fake", seed_count=self.seed_count)

    async def run(self, request: RunRequest) -> AppResult:
        """Runs one seed: one call of the model."""
        self.running += 1
        try:
            await self.gate.wait()
            if self.mix_up:
                return AppResult(
                    failure=AppFailure(
                        reason="RESULT_MISMATCH", message="mixed up", retryable=False
                    )
                )
            return await self._run(request)
        finally:
            self.running -= 1

    async def examples(self, seeds: Sequence[int]) -> list[AppExample] | None:
        """Shows no labels."""
        self._require_well()
        return None

    async def program(self) -> AppProgram | None:
        """Tells nothing."""
        self._require_well()
        return None

    async def close(self) -> None:
        """Closes one client."""
        self.opened["closed"] += 1

    def _require_well(self) -> None:
        if not self.healthy:
            raise TaskAppUnhealthy("task app fake: it is not well; see its log")

    async def _run(self, request: RunRequest) -> AppResult:
        self.models[request.model.model] += 1
        token = request.inference_url.split("/r/")[1].removesuffix("/v1")
        grant = self._sealer.open(token, now=time.time())
        text = await self._instruction(grant.policy, grant.candidate_id)
        job_id, fidelity = job_of(grant.policy)
        model = types_v1.ModelSpec(provider="openai_compatible", model="fake", price=self.price)
        if fidelity:
            model = await self._model(grant.policy)
        sent = {
            "messages": [
                {"role": "system", "content": "Sort it."},
                {"role": "user", "content": f"question {request.seed}"},
            ]
        }
        body = json.dumps({**sent, "instruction": text}).encode()
        if self._ledger is None:
            raise RuntimeError("attach a controller first")
        decision = await self._ledger.begin(
            ledger_v1.BeginCall(
                job=f"jobs/{job_id}",
                scope=grant.rollout_id,
                attempt=grant.attempt,
                request_hash=hashlib.sha256(body).hexdigest(),
                role=ledger_v1.CALL_ROLE_TASK,
                model=model,
                worst_case=ledger_v1.WorstCase(input_tokens=60, output_tokens=40),
            ),
            timeout=_SECONDS,
        )
        kind = decision.WhichOneof("decision")
        if kind == "refused":
            return _failed("CALL_REFUSED")
        if kind == "proceed":
            trace = ledger_v1.CallTrace(
                stage_id="main" if text else "",
                candidate_id=grant.candidate_id,
                app_request=json.dumps(sent).encode(),
                provider_request=body,
                bindings={"query": f"question {request.seed}"},
            )
            if not await self._pay(decision.call_id, (grant.candidate_id, request.seed), trace):
                return _failed("MODEL_FAILED")
        return AppResult(
            environment_reward=(self.low_reward if fidelity else self.reward)(text, request.seed),
            output=json.dumps({"answer": "x"}).encode(),
        )

    async def _pay(self, call_id: str, key: tuple[str, int], trace: ledger_v1.CallTrace) -> bool:
        """Makes the call; returns whether it was answered."""
        number = self._calls
        self._calls += 1
        fate = self.fate(number)
        finish = ledger_v1.FinishCall(call_id=call_id, trace=trace)
        if fate is not Fate.UNSENT:
            self.paid[key] += 1
        if fate is Fate.ANSWERED:
            await asyncio.sleep(self.delay(key[1]))
            read, written = self.usage(key[1])
            answer = {"choices": [{"message": {"role": "assistant", "content": "x"}}]}
            finish.reply.CopyFrom(
                ledger_v1.CallReply(
                    status=200, content_type="application/json", body=json.dumps(answer).encode()
                )
            )
            finish.usage.CopyFrom(types_v1.Usage(input_tokens=read, output_tokens=written))
        else:
            finish.failure.CopyFrom(
                types_v1.Failure(reason="SCRIPTED", message="scripted", retryable=True)
            )
            finish.not_sent = fate is Fate.UNSENT
        if self._ledger is not None:
            await self._ledger.finish(finish)
        return fate is Fate.ANSWERED

    async def _model(self, policy_id: str) -> types_v1.ModelSpec:
        """Returns the model that a policy names for its only stage."""
        if self._policies is None:
            raise RuntimeError("attach a controller first")
        request = policy_v1.GetPolicyRequest(name=f"policies/{policy_id}")
        response = await self._policies.GetPolicy(request, timeout=_SECONDS)
        return response.policy.stages[0].model

    async def _instruction(self, policy_id: str, candidate_id: str) -> str:
        """Returns the instruction in force; empty while the baseline is learnt."""
        if not candidate_id or self._policies is None:
            return ""
        response = await self._policies.GetCandidate(
            policy_v1.GetCandidateRequest(
                policy=f"policies/{policy_id}", candidate_id=candidate_id
            ),
            timeout=_SECONDS,
        )
        found = [one for one in response.prompts.components if one.HasField("instruction")]
        return found[0].instruction.text


PRICE = types_v1.Price(input_usd_per_million=1_000.0, output_usd_per_million=1_000.0)


def _usual_reward(text: str, seed: int) -> float:
    """A better instruction is right on more rows."""
    better = int(text[7]) if text.startswith("Better ") else 0
    return 1.0 if seed % 10 < 4 + 2 * better else 0.0


def _failed(reason: str) -> AppResult:
    return AppResult(failure=AppFailure(reason=reason, message="scripted", retryable=True))
