"""What tests put around an interceptor: a scripted provider, a controller in memory, a suite."""

from burnish_interceptor.testing import replies
from burnish_interceptor.testing.controller import FakeController, LedgerCall, controller
from burnish_interceptor.testing.provider import (
    Script,
    ScriptedProvider,
    completion,
    events,
    provider,
)
from burnish_interceptor.testing.serving import serving
from burnish_interceptor.testing.suite import (
    BASELINE,
    CANDIDATE,
    TOKEN_KEY,
    InterceptorSuite,
    interceptor,
    offline_policy,
    prompts,
    stage_policy,
    suite,
    until,
)

__all__ = [
    "BASELINE",
    "CANDIDATE",
    "TOKEN_KEY",
    "FakeController",
    "InterceptorSuite",
    "LedgerCall",
    "Script",
    "ScriptedProvider",
    "completion",
    "controller",
    "events",
    "interceptor",
    "offline_policy",
    "prompts",
    "provider",
    "replies",
    "serving",
    "stage_policy",
    "suite",
    "until",
]
