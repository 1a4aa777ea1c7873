"""An interceptor with everything around it, in one process, over real sockets."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

from burnish.api.policy.v1 import policy_service_pb2 as policy_v1
from burnish.api.types.v1 import candidate_pb2, model_pb2
from burnish_interceptor.app import InterceptorApp
from burnish_interceptor.providers import Account, Providers
from burnish_interceptor.testing.controller import FakeController, controller
from burnish_interceptor.testing.provider import (
    Answer,
    Script,
    ScriptedProvider,
    completion,
    provider,
)
from burnish_runtime.rollout_token import RolloutGrant, TokenSealer
from burnish_runtime.server import ServiceServer
from burnish_runtime.settings import Secret, ServiceSettings

TOKEN_KEY = "a test key that is long enough for the cipher"  # noqa: S105 - opens nothing
BASELINE = "Classify the query of a bank customer into one intent."
CANDIDATE = "cand_" + "1" * 32
PROVIDER_KEY = "sk-provider-0123456789abcdef"
_POLICY = "job-1"


@dataclass(slots=True, kw_only=True)
class InterceptorSuite:
    """A running interceptor between a controller and a provider.

    Attributes:
        controller: Policies and ledger.
        provider: Answers the calls.
        app: The interceptor.
        settings: How it serves.
        grant: What the URLs grant.
    """

    controller: FakeController
    provider: ScriptedProvider
    app: InterceptorApp
    settings: ServiceSettings
    grant: RolloutGrant = field(
        default_factory=lambda: RolloutGrant(
            rollout_id="roll_1",
            attempt=1,
            policy=_POLICY,
            candidate_id=CANDIDATE,
            expire_time=int(time.time()) + 600,
            issue_time=time.time(),
        )
    )

    @property
    def root(self) -> str:
        """Base URL of the data plane."""
        return f"http://{self.app.http_address}"

    def token(self, grant: RolloutGrant | None = None) -> str:
        """Returns a sealed token."""
        return TokenSealer(TOKEN_KEY).seal(self.grant if grant is None else grant)

    def url(self, grant: RolloutGrant | None = None) -> str:
        """Returns a rollout URL ending in `/v1`."""
        return f"{self.root}/r/{self.token(grant)}/v1"

    def attempt(self, number: int) -> RolloutGrant:
        """Returns the grant of another attempt of the same rollout."""
        return replace(self.grant, attempt=number)


def stage_policy(
    stage_id: str = "classify",
    *,
    system: str = BASELINE,
    user: str = "Query: {query}",
    by_pattern: bool = False,
) -> policy_v1.StagePolicy:
    """Returns a stage with a system and a user pattern."""
    system_mode = candidate_pb2.SUBSTITUTION_MODE_SYSTEM
    pattern_mode = candidate_pb2.SUBSTITUTION_MODE_PATTERN
    return policy_v1.StagePolicy(
        template=candidate_pb2.PromptTemplate(
            stage_id=stage_id,
            messages=[
                candidate_pb2.MessagePattern(role="system", pattern=system),
                candidate_pb2.MessagePattern(role="user", pattern=user),
            ],
            mode=pattern_mode if by_pattern else system_mode,
        ),
        model=model_pb2.ModelSpec(provider="openai", model="gpt-x", temperature=0.0),
        optimised=True,
    )


def prompts(
    text: str, *, stage_id: str = "classify", demos: Sequence[candidate_pb2.Demo] = ()
) -> policy_v1.CandidatePrompts:
    """Returns a candidate for one stage."""
    choice = candidate_pb2.StageChoice(instruction_id="ins", demo_set_id="dem")
    return policy_v1.CandidatePrompts(
        candidate=candidate_pb2.Candidate(candidate_id=CANDIDATE, stages={stage_id: choice}),
        components=[
            candidate_pb2.Component(
                component_id="ins",
                stage_id=stage_id,
                instruction=candidate_pb2.Instruction(text=text),
            ),
            candidate_pb2.Component(
                component_id="dem",
                stage_id=stage_id,
                demo_set=candidate_pb2.DemoSet(demos=list(demos)),
            ),
        ],
    )


def offline_policy(
    *stages: policy_v1.StagePolicy, learning_baseline: bool = False
) -> policy_v1.Policy:
    """Returns the policy of an offline job."""
    return policy_v1.Policy(
        name=f"policies/{_POLICY}",
        version=1,
        job="jobs/1",
        stages=list(stages) or [stage_policy()],
        synchronous_traces=True,
        learning_baseline=learning_baseline,
    )


def interceptor(
    controller_target: str, *, base_url: str, gemini: bool = False
) -> tuple[InterceptorApp, ServiceSettings]:
    """Returns an interceptor that is not started yet, and its settings.

    Args:
        controller_target: gRPC target of the controller.
        base_url: Base URL of provider `openai`.
        gemini: Whether that provider speaks Google's own API.
    """
    settings = ServiceSettings(
        service="interceptor",
        auth_token=Secret("suite-token"),
        token_key=Secret(TOKEN_KEY),
        controller_target=controller_target,
        drain_seconds=1.0,
    )
    account = Account(base_url=base_url, key=Secret(PROVIDER_KEY), gemini=gemini)
    return InterceptorApp(settings, providers=Providers({"openai": account})), settings


@asynccontextmanager
async def suite(
    answer: Answer | None = None, *, instruction: str = "Name the intent.", gemini: bool = False
) -> AsyncIterator[InterceptorSuite]:
    """Runs an interceptor with a provider and a controller around it.

    Args:
        answer: What the provider answers; a plain completion when not given.
        instruction: The candidate's.
        gemini: Whether the provider speaks Google's own API.
    """
    script = Script(body=completion())
    async with controller() as policies, provider(answer or (lambda _: script)) as upstream:
        policies.policies[f"policies/{_POLICY}"] = offline_policy()
        policies.candidates[CANDIDATE] = prompts(instruction)
        app, settings = interceptor(policies.target, base_url=upstream.base_url, gemini=gemini)
        server = ServiceServer(app, settings)
        try:
            await server.start()
            yield InterceptorSuite(
                controller=policies, provider=upstream, app=app, settings=settings
            )
        finally:
            await server.stop()


async def until(condition: Callable[[], object]) -> None:
    """Waits until a condition holds.

    Raises:
        TimeoutError: It did not within 20 seconds.
    """
    for _ in range(4000):
        if condition():
            return
        await asyncio.sleep(0.005)
    raise TimeoutError("the condition did not come to hold within 20 s")
