"""Tricks of an app: for a key, for the rollout of another, for a host that it may not call."""

import asyncio
import base64
import io
import json
import random
import string
import time
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import aiohttp
import pytest

from burnish.api.types.v1 import rollout_pb2
from burnish_interceptor import testing
from burnish_interceptor.app import InterceptorApp
from burnish_interceptor.providers import Account, Providers
from burnish_interceptor.testing import BASELINE, CANDIDATE, TOKEN_KEY, Script, completion
from burnish_interceptor.transport.limits import MAX_BODY_BYTES
from burnish_runtime.rollout_token import RolloutGrant, TokenRefused, TokenSealer
from burnish_runtime.server import ServiceServer
from burnish_runtime.settings import Secret, ServiceSettings

KEYS = {
    "openai": "sk-openai-0123456789abcdef",
    "groq": "gsk-groq-0123456789abcdef",
    "openai_compatible": "sk-compatible-0123456789abcdef",
}
# All that a provider is ever told in a head.
SENT = {"host", "content-type", "accept-encoding", "authorization", "content-length"}
MESSAGES = [
    {"role": "system", "content": BASELINE},
    {"role": "user", "content": "Query: where"},
]
TOKEN = string.ascii_letters + string.digits + "-_"


def body(**more: Any) -> bytes:
    return json.dumps({"model": "m", "messages": MESSAGES, **more}).encode()


def grant(policy: str = "job-openai", rollout: str = "roll_1", seconds: int = 600) -> RolloutGrant:
    return RolloutGrant(
        rollout_id=rollout,
        attempt=1,
        policy=policy,
        candidate_id=CANDIDATE,
        expire_time=int(time.time()) + seconds,
    )


class Scene:
    """An interceptor before three providers with a key each, and a host that nobody may call."""

    def __init__(self, app: InterceptorApp, controller: Any, providers: Any, trap: Any) -> None:
        self.app, self.controller, self.providers, self.trap = app, controller, providers, trap
        self.calls = 0

    def path(self, provider: str, *, more: RolloutGrant | None = None) -> str:
        self.calls += 1
        given = more or grant(f"job-{provider}", f"roll_{self.calls}")
        return f"/r/{TokenSealer(TOKEN_KEY).seal(given)}/v1/chat/completions"

    async def raw(self, data: bytes) -> bytes:
        """Sends bytes and returns all that comes back."""
        host, port = str(self.app.http_address).rsplit(":", 1)
        reader, writer = await asyncio.open_connection(host, int(port))
        try:
            writer.write(data)
            async with asyncio.timeout(10):
                return await reader.read()
        finally:
            writer.close()

    async def post(
        self, path: str, *lines: str, data: bytes | None = None, host: str = "a"
    ) -> tuple[int, bytes]:
        data = body() if data is None else data
        fixed = f"Host: {host}\r\nContent-Length: {len(data)}\r\nConnection: close"
        head = "\r\n".join([f"POST {path} HTTP/1.1", fixed, *lines])
        got = await self.raw(head.encode("latin-1") + b"\r\n\r\n" + data)
        return (int(got.split(b" ", 2)[1]), got) if got else (0, got)

    def check_isolation(self) -> None:
        """Each key went to its own host and to no other, with nothing of the app's."""
        assert self.trap.requests == []
        for name, provider in self.providers.items():
            for request in provider.requests:
                assert request.head.headers["authorization"] == f"Bearer {KEYS[name]}"
                assert request.head.headers.keys() == SENT
                assert request.head.headers["host"] in provider.base_url
                assert request.head.target == "/v1/chat/completions"
                assert not [key for key in KEYS.values() if key.encode() in request.body]


@asynccontextmanager
async def scene() -> Any:
    answer = Script(body=completion())
    async with (
        testing.controller() as controller,
        testing.provider(lambda _: answer) as openai,
        testing.provider(lambda _: answer) as groq,
        testing.provider(lambda _: answer) as compatible,
        testing.provider(lambda _: answer) as trap,
    ):
        providers = {"openai": openai, "groq": groq, "openai_compatible": compatible}
        for name in providers:
            stage = testing.stage_policy()
            stage.model.provider = name
            policy = testing.offline_policy(stage)
            policy.name = f"policies/job-{name}"
            controller.policies[policy.name] = policy
        controller.candidates[CANDIDATE] = testing.prompts("Name it.")
        accounts = {
            name: Account(base_url=one.base_url, key=Secret(KEYS[name]))
            for name, one in providers.items()
        }
        settings = ServiceSettings(
            service="interceptor",
            auth_token=Secret("suite-token"),
            token_key=Secret(TOKEN_KEY),
            controller_target=controller.target,
            drain_seconds=1.0,
        )
        app = InterceptorApp(settings, providers=Providers(accounts))
        server = ServiceServer(app, settings)
        try:
            await server.start()
            yield Scene(app, controller, providers, trap)
        finally:
            await server.stop()


async def test_no_word_of_an_app_moves_a_key_or_reaches_a_providers_head():
    async with scene() as one:
        evil, host = one.trap.base_url, one.trap.base_url.split("/")[2]
        bodies = [
            {"api_base": evil}, {"base_url": evil}, {"api_key": "x"}, {"host": host},
            {"extra_headers": {"Authorization": "Bearer x", "Host": host}}, {"proxy": evil},
            {"custom_llm_provider": "groq"}, {"extra_body": {"base_url": evil}},
            {"model": "groq/m"}, {"model": f"{evil}/m"}, {"model": "m\r\nHost: x"},
            {"model": "../x"}, {"organization": "x"},
            {"url": evil, "endpoint": evil, "azure_endpoint": evil},
        ]  # fmt: skip
        lines = [
            f"X-Forwarded-Host: {host}", "X-Forwarded-For: 127.0.0.1", f"Forwarded: host={host}",
            f"X-Original-URL: {evil}", f"X-Rewrite-URL: {evil}", f"X-Burnish-Base-Url: {evil}",
            "Authorization: Bearer the-apps-own", "Authorization: Bearer suite-token",
            "X-Api-Key: the-apps-own", "Api-Key: x", "X-Goog-Api-Key: x", "OpenAI-Organization: x",
            "OpenAI-Project: x", "Cookie: a=b", "Proxy-Authorization: Basic x", f"Referer: {evil}",
            "Accept-Encoding: gzip, br", "Connection: authorization", "Via: 1.1 x", "TE: trailers",
            "User-Agent: x", "X-Http-Method-Override: GET", f"Destination: {evil}",
        ]  # fmt: skip
        for name in KEYS:
            for more in bodies:
                status, got = await one.post(one.path(name), data=body(**more))
                assert status == 200, got
            for line in lines:
                status, got = await one.post(one.path(name), line)
                assert status == 200, got
            assert (await one.post(one.path(name), host=host))[0] == 200
        assert sum(len(each.requests) for each in one.providers.values()) == one.calls
        one.check_isolation()


async def test_a_target_or_a_head_that_names_another_host_calls_nobody():
    async with scene() as one:
        evil = one.trap.base_url.removesuffix("/v1")
        path = one.path("openai")
        targets = [
            evil + path, f"http://{evil.split('/')[2]}{path}", f"//{evil.split('/')[2]}{path}",
            f"{path}/../../../{evil}", f"{path}%0d%0aHost:%20x", f"{path}/%2e%2e/models",
            path.replace("/v1", "/..%2f..%2fv1"), f"@{evil}{path}", f"\\\\{evil}{path}", f"*{path}",
        ]  # fmt: skip
        for target in targets:
            status, _ = await one.post(target)
            assert status in (400, 404, 405), target
        heads = [
            "X: a\r\n Host: evil", "Host: evil", "Content-Length: 0", "Transfer-Encoding: chunked",
            "X\r: a", "X : a", "X: a\x00b", ": a", "X-Y: a\nHost: evil",
        ]  # fmt: skip
        for head in heads:
            before = len(one.providers["openai"].requests)
            status, _ = await one.post(one.path("openai"), head)
            assert status in (200, 400), head
            assert len(one.providers["openai"].requests) - before == (status == 200)
        one.check_isolation()


async def test_a_base_url_in_a_job_gets_no_key_and_moves_none():
    async with scene() as one:
        own = one.providers["openai_compatible"].base_url
        evil = one.trap.base_url
        for name in KEYS:
            policy = one.controller.policies[f"policies/job-{name}"]
            stage = policy.stages[0]
            stage.model.base_url = evil
            policy.name = f"policies/elsewhere-{name}"
            one.controller.policies[policy.name] = policy
            status, _ = await one.post(one.path(name, more=grant(f"elsewhere-{name}", name)))
            assert status == 200
        # Only a compatible server may be moved by a job, and it is not told a key.
        assert len(one.trap.requests) == 1
        assert one.trap.requests[0].head.headers.keys() == SENT - {"authorization"}
        assert [len(one.providers[name].requests) for name in KEYS] == [1, 1, 0]
        assert own not in evil


async def test_a_redirect_is_never_followed():
    async with scene() as one:
        for status in (301, 302, 303, 307, 308):
            one.providers["openai"]._answer = lambda _, status=status: Script(
                status=status, headers={"location": one.trap.base_url + "/chat/completions"}
            )
            shown, got = await one.post(one.path("openai"))
            assert shown == 502
            assert b"location" not in got.lower()
            assert b"x-should-retry: false" in got
        one.check_isolation()


def forged(rng: random.Random, tokens: list[str], count: int) -> Any:
    """Yields texts that are no token: at random, and real ones changed a little."""
    for _ in range(count // 2):
        yield "".join(rng.choices(TOKEN, k=rng.choice([1, 16, 28, 40, 190, len(tokens[0])])))
    for _ in range(count - count // 2):
        token = rng.choice(tokens)
        place, other = rng.randrange(len(token)), rng.choice(tokens)
        flipped = chr(ord(token[place]) ^ (1 << rng.randrange(7)))
        yield rng.choice(
            [
                token[:place] + flipped + token[place + 1 :],
                token[:place] + rng.choice(TOKEN.replace(token[place], "")) + token[place + 1 :],
                token[:place] + rng.choice("!.~ =\t\u00e9\u0661") + token[place:],
                token[:place] + token[place + 1 :] if len(set(token)) > 1 else token + "A",
                token[: place + 1] + other[: len(other) - place],
                token + rng.choice(["=", "==", "A", "AA", "\n", "%00"]),
            ]
        )  # fmt: skip


def test_no_text_but_the_token_itself_opens_a_rollout():
    sealer = TokenSealer(TOKEN_KEY)
    tokens = [sealer.seal(grant(rollout=f"roll_{n}")) for n in range(50)]
    now, tried = time.time(), 0
    for text in forged(random.Random(4), tokens, 100_000):
        if text in tokens:
            continue
        tried += 1
        with pytest.raises(TokenRefused):
            sealer.open(text, now=now)
    assert tried > 99_000


def test_every_bit_of_a_token_counts():
    sealer = TokenSealer(TOKEN_KEY)
    token = sealer.seal(grant())
    sealed = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    assert len(sealed) * 8 > 128
    for bit in range(len(sealed) * 8):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(TokenRefused):
            sealer.open(base64.urlsafe_b64encode(changed).decode().rstrip("="), now=time.time())
    for place, other in ((p, c) for p in range(len(token)) for c in TOKEN if c != token[p]):
        with pytest.raises(TokenRefused):
            sealer.open(token[:place] + other + token[place + 1 :], now=time.time())


async def test_forged_foreign_expired_and_revoked_urls_get_one_answer_and_call_nobody():
    async with testing.suite() as running, aiohttp.ClientSession() as session:
        seal = TokenSealer(TOKEN_KEY).seal
        foreign = TokenSealer("another suite's key that is long enough for it")
        texts = [
            seal(replace(running.grant, expire_time=int(time.time()) - 1)),
            seal(replace(running.grant, expire_time=0)),
            foreign.seal(running.grant),
            "x",
            running.token() + "=",
            *(t for t in forged(random.Random(5), [running.token()], 200) if t.isalnum()),
        ]

        async def answer(text: str) -> tuple[int, Any, set[str]]:
            url = f"{running.root}/r/{text}/v1/chat/completions"
            async with session.post(url, data=body()) as reply:
                told = json.loads(await reply.read())["error"]
                told["message"] = told["message"].partition(" (request ")[0]
                return reply.status, told, {name.lower() for name in reply.headers}

        got = [await answer(text) for text in texts]
        assert running.controller.fetches == {}
        assert running.controller.calls == {}
        # The token is good, but the rollout is over: the ledger lets nothing begin.
        running.controller.refusal = rollout_pb2.Failure(reason="SCOPE_NOT_ACTIVE")
        got.append(await answer(running.token()))
        assert all(one[:2] == got[0][:2] for one in got)
        assert (got[0][0], got[0][1]["code"]) == (404, "rollout_unknown")
        assert running.provider.requests == []


@pytest.mark.parametrize("over", [-1, 0, 1])
@pytest.mark.parametrize("chunked", [True, False])
async def test_a_body_is_taken_up_to_its_bound_and_no_byte_beyond(over, chunked):
    async with testing.suite() as running, aiohttp.ClientSession() as session:
        # Settings as they will leave, so that the call does not grow beyond the provider's bound.
        fixed: Any = {"model": "gpt-x", "temperature": 0.0}
        data = body(user="x" * (MAX_BODY_BYTES + over - len(body(user="", **fixed))), **fixed)
        assert len(data) == MAX_BODY_BYTES + over

        async def pieces() -> Any:
            for start in range(0, len(data), 100_000):
                yield data[start : start + 100_000]

        status = 0
        url = running.url() + "/chat/completions"
        try:
            async with session.post(url, data=pieces() if chunked else io.BytesIO(data)) as reply:
                status = reply.status
        except aiohttp.ClientConnectionError:
            assert over == 1  # It went on sending after it was refused.
        assert status in ({413, 0} if over == 1 else {200})
        assert len(running.provider.requests) == (over != 1)


@pytest.mark.parametrize(
    ("more", "status"),
    [({"messages": [*MESSAGES, *({"role": "user", "content": "x"} for _ in range(1998))]}, 200),
     ({"messages": [*MESSAGES, *({"role": "user", "content": "x"} for _ in range(1999))]}, 400),
     ({"tools": [{"type": "function", "function": {"name": f"f{n}"}} for n in range(128)]}, 200),
     ({"tools": [{"type": "function", "function": {"name": f"f{n}"}} for n in range(129)]}, 400)],
)  # fmt: skip
async def test_messages_and_tools_are_taken_up_to_their_bounds(more, status):
    async with testing.suite() as running, aiohttp.ClientSession() as session:
        data = body(**more)
        async with session.post(running.url() + "/chat/completions", data=data) as reply:
            assert reply.status == status, await reply.read()
        assert len(running.provider.requests) == (status == 200)


@pytest.mark.parametrize("coding", ["gzip", "br", "deflate", "zstd", "gzip, identity", "x"])
async def test_a_packed_body_is_refused_unread(coding):
    async with testing.suite() as running, aiohttp.ClientSession() as session:
        headers = {"content-encoding": coding}
        url = running.url() + "/chat/completions"
        async with session.post(url, data=b"\x1f\x8b" * 500, headers=headers) as reply:
            assert reply.status == 415
        assert running.provider.requests == []
