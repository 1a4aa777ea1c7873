"""`burnish policy ...`, `burnish traces` and the client's namespaces against a real controller."""

import asyncio
import contextlib
import json
import sqlite3

import pytest
from typer.testing import CliRunner

from burnish.api.policy import v1 as policy_v1
from burnish.cli import app
from burnish.client import AsyncClient
from burnish.errors import InvalidArgument, NotFound
from burnish.sync import Client
from burnish_controller.testing import World, small_job

TOKEN = "test-token"
SPEC = {
    "stages": [
        {
            "template": {
                "stage_id": "main",
                "messages": [
                    {"role": "system", "pattern": "Sort it."},
                    {"role": "user", "pattern": "{query}"},
                ],
            },
            "model": {"provider": "openai", "model": "gpt-x"},
        }
    ],
    "arms": [
        {"arm": "now", "weight": 3},
        {"arm": "new", "weight": 1, "prompts": {"main": {"instruction": "Sort well."}}},
    ],
}


@pytest.fixture
async def world(tmp_path):
    async with World(tmp_path / "state") as running:
        yield running


async def burnish(world, *arguments):
    """Runs a command; returns its exit code, what it printed and what it said."""

    def run():
        return CliRunner().invoke(app, [*arguments, "--backend", world.target, "--token", TOKEN])

    result = await asyncio.to_thread(run)
    return result.exit_code, result.stdout, result.stderr


async def as_json(world, *arguments):
    code, out, _ = await burnish(world, *arguments, "--json")
    # The controller shares the process and logs to the same place.
    return code, json.loads(out.strip().splitlines()[-1])


async def test_a_jobs_winner_becomes_a_canary_grows_and_goes(world):
    await world.create(small_job())
    await world.finished()
    code, shown = await as_json(world, "policy", "publish", "job1", "--weight", "0.2")
    assert code == 0
    assert shown["name"] == "policies/job1-live"
    assert shown["base_url"] == "http://interceptor/p/job1-live/v1"
    assert {arm["arm"]: arm["share"] for arm in shown["arms"]} == {"baseline": 0.8, "winner": 0.2}
    code, shown = await as_json(world, "policy", "set-weights", "job1-live", "winner=0.8")
    assert (code, shown["version"]) == (0, 2)
    assert {arm["arm"]: arm["share"] for arm in shown["arms"]} == {"baseline": 0.5, "winner": 0.5}
    _, listed = await as_json(world, "policy", "list")
    assert [one["name"] for one in listed["policies"]] == ["policies/job1-live"]
    code, out, _ = await burnish(world, "policy", "get", "job1-live")
    assert "winner: 50.0%" in out
    assert (await burnish(world, "policy", "delete", "job1-live"))[0] == 0
    code, error = await as_json(world, "policy", "get", "job1-live")
    assert (code, error["error"]["reason"]) == (1, "JOB_NOT_FOUND")


@pytest.mark.parametrize("suffix", [".json", ".toml"])
async def test_a_policy_written_by_hand_is_read_from_a_file(world, tmp_path, suffix):
    file = tmp_path / f"policy{suffix}"
    if suffix == ".json":
        file.write_text(json.dumps(SPEC))
    else:
        file.write_text(
            """
            [[stages]]
            model = { provider = "openai", model = "gpt-x" }
            [stages.template]
            stage_id = "main"
            messages = [{ role = "system", pattern = "Sort it." }]
            [[arms]]
            arm = "now"
            weight = 3
            [[arms]]
            arm = "new"
            weight = 1
            prompts.main.instruction = "Sort well."
            """
        )
    arguments = ("policy", "publish", "--file", str(file), "--name", "hand")
    code, shown = await as_json(world, *arguments)
    assert code == 0
    assert [arm["share"] for arm in shown["arms"]] == [0.75, 0.25]
    assert shown["stages"] == {"main": "openai/gpt-x"}
    assert (await as_json(world, *arguments, "--expected-version", "0"))[0] == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [(("publish",), "SOURCE_UNCLEAR"), (("publish", "j", "--file", "x"), "SOURCE_UNCLEAR"),
     (("publish", "--file", "x"), "NAME_MISSING"), (("set-weights", "p", "a"), "WEIGHT_INVALID"),
     (("set-weights", "p", "a=b"), "WEIGHT_INVALID"), (("get", "a b"), "RESOURCE_NAME_INVALID")],
)  # fmt: skip
async def test_a_command_that_cannot_be_meant_is_a_usage_error(world, arguments, reason):
    code, error = await as_json(world, "policy", *arguments)
    assert (code, error["error"]["reason"]) == (2, reason)


async def test_the_calls_of_a_rollout_are_shown_to_people_and_as_json(world):
    await world.create(small_job())
    await world.finished()
    with contextlib.closing(sqlite3.connect(world.state_dir / "controller.db")) as database:
        (rollout,) = database.execute("SELECT scope FROM calls LIMIT 1").fetchone()
    code, out, _ = await burnish(world, "traces", rollout)
    assert code == 0
    assert "openai_compatible/fake" in out
    _, document = await as_json(world, "traces", rollout, "--compact")
    assert document["event_history"][0]["type"] == "lm_call"
    assert (await as_json(world, "traces", "nobody"))[0] == 1


async def test_the_client_publishes_shifts_lists_and_deletes(world):
    async with AsyncClient(world.target, token=TOKEN) as client:
        with pytest.raises(InvalidArgument, match="cannot be read"):
            await client.policies.publish_spec("p", {"arm": []})
        made = await client.policies.publish_spec("p", SPEC)
        assert (made.policy_id, made.version) == ("p", 1)
        assert made.create_time is not None
        moved = await client.policies.set_weights("policies/p", {"new": 3.0}, expected_version=1)
        assert [arm.share for arm in moved.arms] == [0.5, 0.5]
        await client.policies.publish_spec("q", SPEC)
        page = await client.policies.list(page_size=1)
        rest = await client.policies.list(page_token=page.next_page_token)
        assert [one.policy_id for one in (*page.policies, *rest.policies)] == ["p", "q"]
        await client.policies.delete("p")
        with pytest.raises(NotFound):
            await client.policies.get("p")
        with pytest.raises(NotFound):
            await client.traces.session("nobody")


async def test_the_plain_client_does_the_same(world):
    def use():
        with Client(world.target, token=TOKEN) as client:
            made = client.policies.publish_spec("p", SPEC)
            moved = client.policies.set_weights("p", {"new": 3.0})
            listed = client.policies.list()
            got = client.policies.get("p")
            client.policies.delete("p")
            with pytest.raises(NotFound):
                client.policies.publish("nothing")
            with pytest.raises(NotFound):
                client.traces.session("nobody")
            return made, moved, listed, got

    made, moved, listed, got = await asyncio.to_thread(use)
    assert (made.version, moved.version) == (1, 2)
    assert listed.policies == (got,)
    assert got.stages == {"main": "openai/gpt-x"}


async def test_a_replica_that_refuses_is_shown_with_its_reason(world):
    async with AsyncClient(world.target, token=TOKEN) as client:
        await client.policies.publish_spec("p", SPEC)
    request = policy_v1.ReportPolicyStatusRequest(node_id="node-1", applied_revision=1)
    request.rejected["policies/p"].reason = "PROVIDER_UNKNOWN"
    await world.policies.ReportPolicyStatus(request, timeout=5)
    _, out, _ = await burnish(world, "policy", "get", "p")
    assert "node-1: away; refused it: PROVIDER_UNKNOWN" in out
    _, out, _ = await burnish(world, "policy", "list")
    assert "1 refused" in out
