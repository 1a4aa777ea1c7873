"""What goes wrong, as the openai and groq packages tell it: their own exceptions and retries."""

from typing import Any

import groq
import openai
import pytest

from burnish.api.types.v1 import rollout_pb2
from tests.clients.world import CANARY, KEY, MESSAGES, failing, world

# The app's own retries wait no longer than the provider says.
SOON = {"retry-after-ms": "1"}
CLIENTS = {"openai": (openai, openai.AsyncOpenAI, "/v1"), "groq": (groq, groq.AsyncGroq, "")}
each_package = pytest.mark.parametrize("package", CLIENTS)


def client(base: str, package: str) -> tuple[Any, Any]:
    """Returns a client that retries twice, as it does by itself, and the package's exceptions."""
    module, kind, path = CLIENTS[package]
    url = base.removesuffix("/v1") + path
    return kind(base_url=url, api_key=KEY, max_retries=2), module


def ask(app: Any, **more: Any) -> Any:
    return app.chat.completions.create(model="gpt-mine", messages=MESSAGES, **more)


def code_of(error: Any) -> Any:
    return error.response.json()["error"]["code"]


@each_package
@pytest.mark.parametrize(
    ("status", "name", "calls"),
    [
        (400, "BadRequestError", 1),
        (401, "AuthenticationError", 1),
        (403, "PermissionDeniedError", 1),
        (404, "NotFoundError", 1),
        (422, "UnprocessableEntityError", 1),
        (429, "RateLimitError", 3),
        (500, "InternalServerError", 3),
        (503, "InternalServerError", 3),
    ],
)
async def test_a_providers_error_is_the_clients_own_and_is_tried_again_as_it_says(
    package, status, name, calls
):
    async with world(failing(status, SOON)) as running:
        app, module = client(running.base, package)
        async with app:
            with pytest.raises(getattr(module, name)) as caught:
                await ask(app)
        assert caught.value.status_code == status
        assert code_of(caught.value) == f"upstream_{status}"
        assert CANARY not in str(caught.value)
        assert (running.tap.call_count, len(running.sent)) == (calls, calls)
        running.check_swapped(calls=calls)


@each_package
async def test_a_passing_failure_is_made_good_by_the_clients_own_retry(package):
    async with world(failing(429, SOON, times=2)) as running:
        app, _ = client(running.base, package)
        async with app:
            reply = await ask(app)
        assert reply.choices[0].message.content == "card_arrival"
        assert running.tap.call_count == 3
        # One call of the app, whatever it took.
        assert {call.key[2] for call in running.suite.controller.calls.values()} == {0}


@each_package
async def test_a_provider_that_says_not_to_try_again_is_heeded(package):
    async with world(failing(429, SOON | {"x-should-retry": "false"})) as running:
        app, module = client(running.base, package)
        async with app:
            with pytest.raises(module.RateLimitError):
                await ask(app)
        assert running.tap.call_count == 1


@each_package
@pytest.mark.parametrize(
    ("reason", "status"), [("BUDGET_EXHAUSTED", 402), ("JOB_NOT_RUNNING", 409)]
)
async def test_a_refused_call_is_not_tried_again(package, reason, status):
    async with world() as running:
        running.suite.controller.refusal = rollout_pb2.Failure(reason=reason)
        app, module = client(running.base, package)
        async with app:
            with pytest.raises(module.APIStatusError) as caught:
                await ask(app)
        assert (caught.value.status_code, code_of(caught.value)) == (status, reason.lower())
        # By itself the client would try a 409 again.
        assert (running.tap.call_count, running.sent) == (1, [])


@each_package
async def test_a_url_that_grants_nothing_is_not_found_and_not_tried_again(package):
    async with world() as running:
        app, module = client(f"{running.root}/r/forged/v1", package)
        async with app:
            with pytest.raises(module.NotFoundError) as caught:
                await ask(app)
        assert code_of(caught.value) == "rollout_unknown"
        assert (running.tap.call_count, running.sent) == (1, [])


@each_package
async def test_a_stream_that_breaks_off_is_an_error_of_the_client(package):
    def answer(request):
        script = failing(200, times=0)(request)
        script.body, script.cut, script.truncated = script.body[:-300], 40, True
        return script

    async with world(answer) as running:
        app, module = client(running.base, package)
        async with app:
            with pytest.raises(module.APIError):
                async for _ in await ask(app, stream=True):
                    pass
        running.check_swapped()
