"""Whatever happens to calls, clients and the controller: what a provider billed is on the books.

The machine plays a provider that bills each try or not, as it likes, and tells the ledger the truth
only where a client could know it. The real ledger works on real rows.
"""

import asyncio
import itertools
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from burnish.api.ledger import v1 as ledger_v1
from burnish.api.types import v1 as types_v1
from burnish.prices import cost
from burnish_controller.ledger.budget import Amount, Caps
from burnish_controller.ledger.calls import CallState, Scope
from burnish_controller.ledger.engine import CallLedger, LedgerOptions
from burnish_controller.ledger.purse import Purse, TenantCaps
from burnish_controller.ledger.store import CallStore
from burnish_controller.store.database import open_database
from burnish_controller.store.writer import Writer

JOBS = ("one", "two")
ROLES = {
    "task": ledger_v1.CALL_ROLE_TASK,
    "proposer": ledger_v1.CALL_ROLE_PROPOSER,
    "judge": ledger_v1.CALL_ROLE_JUDGE,
}
PRICE = types_v1.Price(
    input_usd_per_million=2_000.0,
    output_usd_per_million=8_000.0,
    cached_input_usd_per_million=500.0,
    reasoning_usd_per_million=9_000.0,
)
CAPS = Caps(usd=4.0, tokens=900, usd_by_role={"task": 2.5, "judge": 1.0})
TENANT = TenantCaps(usd=6.0, usd_per_day=3.5)
DAY = 86_400.0
SLACK = 1e-9
_TENANTS = itertools.count()


class Try:
    """One try of a call that the ledger gave leave for, and what the provider made of it."""

    def __init__(self, call_id: str, job: str, role: str, day: int, billed: Any) -> None:
        self.call_id, self.job, self.role, self.day, self.billed = call_id, job, role, day, billed
        self.client = ""

    @property
    def usd(self) -> float:
        return (cost(PRICE, self.billed) or 0.0) if self.billed is not None else 0.0

    @property
    def tokens(self) -> int:
        return 0 if self.billed is None else self.billed.input_tokens + self.billed.output_tokens


class Paying(RuleBasedStateMachine):
    """Jobs, roles, clients and controllers that come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.runner = asyncio.Runner()
        self.folder = tempfile.TemporaryDirectory()
        self.database = self.runner.run(open_database(Path(self.folder.name)))
        self.writer = Writer(self.database.write_engine)
        self.now = 100 * DAY
        self.tries: list[Try] = []
        self.open: dict[str, Try] = {}
        self.sequence = itertools.count(1)
        self.clients = {"a", "b"}
        self.ledger: CallLedger | None = None
        self.told = 0

    @initialize()
    def start(self) -> None:
        self.runner.run(self._start(before=False))

    async def _start(self, *, before: bool) -> None:
        if self.writer._thread is None:
            self.writer.start()
        store = CallStore(self.database, self.writer, tenant="t")

        async def caps_of(job_id: str) -> Caps:
            return CAPS

        options = LedgerOptions(
            price_of=lambda model, read: None,
            caps_of=caps_of,
            purse=Purse(TENANT, wall_clock=lambda: self.now),
            orphan_grace=0.0,
        )
        self.ledger = CallLedger(store, options)
        for client in self.clients:
            self.ledger.session_opened(client)
        for job in JOBS:
            for role in ROLES:
                scope = Scope(scope_id=f"{job}-{role}", job_id=job, closing=False)
                await self.ledger.open_scope(scope, before=before)
        await asyncio.sleep(0)

    @rule(
        job=st.sampled_from(JOBS),
        role=st.sampled_from(sorted(ROLES)),
        body=st.integers(0, 5),
        client=st.sampled_from(["a", "b"]),
        worst=st.tuples(st.integers(1, 120), st.integers(0, 80)),
        share=st.tuples(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1), st.floats(0, 1)),
        billed=st.booleans(),
        key=st.sampled_from(["", "k1", "k2"]),
    )  # fmt: skip
    def begin(self, job, role, body, client, worst, share, billed, key):
        call_id = f"{job}-{role}#{body:02}#0"
        if call_id in self.open or client not in self.clients:
            return
        used = types_v1.Usage(
            input_tokens=int(worst[0] * share[0]), output_tokens=int(worst[1] * share[1])
        )
        used.cached_input_tokens = int(used.input_tokens * share[2])
        used.reasoning_tokens = int(used.output_tokens * share[3])
        request = ledger_v1.BeginCall(
            job=f"jobs/{job}", scope=f"{job}-{role}", attempt=1, request_hash=f"{body:02}",
            role=ROLES[role], ordinal=0, client_key=key,
            model=types_v1.ModelSpec(provider="p", model="m", price=PRICE),
            worst_case=ledger_v1.WorstCase(input_tokens=worst[0], output_tokens=worst[1]),
        )  # fmt: skip
        assert self.ledger is not None
        decision = self.runner.run(self.ledger.begin((client, next(self.sequence)), request))
        if decision.WhichOneof("decision") != "proceed":
            return
        made = Try(decision.call_id, job, role, int(self.now // DAY), used if billed else None)
        made.client = client
        self.tries.append(made)
        self.open[decision.call_id] = made

    @precondition(lambda self: self.open)
    @rule(data=st.data(), known=st.booleans())
    def finish(self, data, known):
        one = self.open.pop(data.draw(st.sampled_from(sorted(self.open))))
        finish = ledger_v1.FinishCall(call_id=one.call_id)
        if one.billed is not None and known:
            finish.reply.CopyFrom(ledger_v1.CallReply(status=200, body=b"x"))
            finish.usage.CopyFrom(one.billed)
        else:
            finish.failure.reason = "SCRIPTED"
            # What was billed can never be known to be unsent.
            finish.not_sent = one.billed is None and known
        self._finish(finish)

    @rule(client=st.sampled_from(["a", "b"]))
    def a_client_dies(self, client):
        if client not in self.clients:
            return
        self.clients.discard(client)

        async def die() -> None:
            assert self.ledger is not None
            self.ledger.session_closed(client)
            while self.ledger._tasks:
                await asyncio.gather(*self.ledger._tasks)

        self.runner.run(die())
        self.open = {key: one for key, one in self.open.items() if one.client != client}

    @rule()
    def clients_come_back(self):
        assert self.ledger is not None
        for client in {"a", "b"} - self.clients:
            self.ledger.session_opened(client)
        self.clients = {"a", "b"}

    @precondition(lambda self: self.tries)
    @rule(data=st.data())
    def a_reply_comes_after_its_call_was_given_up(self, data):
        one = data.draw(st.sampled_from(self.tries))
        latest = [made for made in self.tries if made.call_id == one.call_id][-1]
        if one is not latest or one.call_id in self.open or one.billed is None:
            return
        finish = ledger_v1.FinishCall(call_id=one.call_id)
        finish.reply.CopyFrom(ledger_v1.CallReply(status=200, body=b"x"))
        finish.usage.CopyFrom(one.billed)
        self._finish(finish)

    @rule(cleanly=st.booleans())
    def the_controller_is_killed(self, cleanly):
        async def kill() -> None:
            assert self.ledger is not None
            if cleanly:
                await self.ledger.close()
            else:
                for task in self.ledger._tasks:
                    task.cancel()
            await self._start(before=True)
            assert self.ledger is not None
            while self.ledger._tasks:
                await asyncio.gather(*self.ledger._tasks, return_exceptions=True)

        self.runner.run(kill())

    @rule(days=st.sampled_from([0.3, 1.0, 2.0]))
    def time_passes(self, days):
        self.now += days * DAY

    @rule(job=st.sampled_from(JOBS), usd=st.floats(0, 1), tokens=st.integers(0, 200))
    def a_share_is_held(self, job, usd, tokens):
        assert self.ledger is not None
        account = self.runner.run(self.ledger.account(job))
        account.hold(Amount(tokens, usd), by_role={"task": Amount(tokens, usd)})

    @invariant()
    def no_cap_is_passed_and_every_bill_is_covered(self) -> None:
        if self.ledger is None:
            return
        billed_in_all = 0.0
        for job in JOBS:
            account = self.runner.run(self.ledger.account(job))
            mine = [one for one in self.tries if one.job == job]
            committed = account.booked() + account.reserved()
            assert committed.usd is not None
            assert committed.usd <= 4.0 + SLACK
            assert committed.tokens <= 900
            assert sum(one.usd for one in mine) <= committed.usd + SLACK
            assert sum(one.tokens for one in mine) <= committed.tokens
            billed_in_all += sum(one.usd for one in mine)
            for role in ROLES:
                held = account.booked(role) + account.reserved(role)
                billed = sum(one.usd for one in mine if one.role == role)
                assert held.usd is not None
                assert billed <= held.usd + SLACK
                cap = CAPS.usd_by_role.get(role)
                assert cap is None or held.usd <= cap + SLACK
        purse = self.runner.run(self.ledger.account("one")).purse
        assert purse._all.committed <= 6.0 + SLACK
        assert billed_in_all <= purse._all.committed + SLACK
        for day, tab in purse._days.items():
            assert tab.committed <= 3.5 + SLACK, day

    @invariant()
    def what_is_done_is_booked_to_the_cent_and_the_rest_is_marked(self) -> None:
        if self.ledger is None:
            return
        for job in JOBS:
            scopes = [f"{job}-{role}" for role in ROLES]
            found = self.runner.run(self.ledger._store.of_scopes(scopes))
            for calls in found.values():
                for call in calls:
                    tried = [one for one in self.tries if one.call_id == call.call_id]
                    if call.state is CallState.DONE:
                        assert call.usd == cost(PRICE, tried[-1].billed)
                    unknown = sum(one.billed is not None for one in tried)
                    done = call.state in {CallState.DONE, CallState.OPEN}
                    assert unknown <= call.lost_calls + done

    @invariant()
    def the_rows_tell_what_the_sums_do(self) -> None:
        if self.ledger is None:
            return
        for job in JOBS:
            account = self.runner.run(self.ledger.account(job))
            rows = self.runner.run(self.ledger._store.sums(job))
            for role, sums in rows.items():
                booked, reserved = account.booked(role), account.reserved(role)
                assert (booked.tokens, reserved.tokens) == (sums.booked.tokens, sums.open.tokens)
                assert booked.usd is not None
                assert sums.booked.usd is not None
                assert abs(booked.usd - sums.booked.usd) < SLACK
        purse = self.runner.run(self.ledger.account("one")).purse
        for day, (booked_usd, reserved_usd) in self.runner.run(self.ledger._store.days()).items():
            tab = purse._days[day]
            assert abs(tab.booked - booked_usd) < SLACK
            assert abs(tab.reserved - reserved_usd) < SLACK

    def teardown(self) -> None:
        async def end() -> None:
            if self.ledger is not None:
                await self.ledger.close()
            await self.writer.close()
            await self.database.close()

        self.runner.run(end())
        self.runner.close()
        self.folder.cleanup()

    def _finish(self, finish: ledger_v1.FinishCall) -> None:
        assert self.ledger is not None
        self.runner.run(self.ledger.finish(finish))


TestPaying = Paying.TestCase
TestPaying.settings = settings(
    max_examples=15,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
