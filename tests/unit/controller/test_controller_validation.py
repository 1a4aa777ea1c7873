import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.api.job import v1 as job_v1
from burnish.api.types import v1 as types_v1
from burnish_controller.pools import expand, pool_problems
from burnish_controller.validation import SpecInvalid, require_none, spec_problems, spec_warnings

PRICES = {
    "local-reader": types_v1.Price(),
    "gpt-known": types_v1.Price(input_usd_per_million=1e6, output_usd_per_million=1e6),
}


def problems(spec: job_v1.JobSpec, *, tenant_left: float | None = None) -> list[str]:
    return spec_problems(
        spec, price_of=lambda model, read: PRICES.get(model.model), tenant_left=tenant_left
    )


def test_the_usual_spec_has_no_fault(make_spec):
    assert problems(make_spec()) == []


def budget(**fields):
    return lambda spec: spec.budget.MergeFrom(job_v1.Budget(**fields))


def app(uri):
    return lambda spec: setattr(spec.task_app, "uri", uri)


def bootstrap(**fields):
    return lambda spec: spec.offline.bootstrap.MergeFrom(job_v1.BootstrapSpec(**fields))


def pool(name, seeds=(), ranges=()):
    def change(spec):
        getattr(spec.offline, name).CopyFrom(
            types_v1.SeedPool(seeds=seeds, ranges=[types_v1.SeedRange(**one) for one in ranges])
        )

    return change


def model(provider, name):
    return lambda spec: spec.policy_model.CopyFrom(
        types_v1.ModelSpec(provider=provider, model=name)
    )


def meta(provider, name):
    return lambda spec: spec.proposer.meta_model.CopyFrom(
        types_v1.ModelSpec(provider=provider, model=name)
    )


def both(*changes):
    def change(spec):
        for one in changes:
            one(spec)

    return change


def no_mode(spec):
    spec.ClearField("offline")


def twice(spec):
    spec.stages.add().CopyFrom(spec.stages[0])


def nameless(spec):
    spec.stages[0].template.stage_id = ""


def unwritten_second(spec):
    second = spec.stages.add()
    second.template.stage_id = "second"


def written(limit):
    """A stage whose model writes at most so many tokens, at a known price."""

    def change(spec):
        spec.policy_model.CopyFrom(
            types_v1.ModelSpec(provider="openai", model="gpt-known", max_output_tokens=limit)
        )

    return change


FAULTS = {
    "uri": (app("ftp://x"), ["task_app.uri", "ftp://x", "grpc://"]),
    "algorithm": (lambda spec: spec.ClearField("algorithm"), ["`algorithm`", "mipro"]),
    "concurrency": (lambda spec: setattr(spec, "max_concurrency", 2000), ["2000", "1024"]),
    "model": (lambda spec: spec.ClearField("policy_model"), ["policy_model", "missing"]),
    "half a model": (model("openai", ""), ["policy_model", "lacks"]),
    "refused model": (model("openai", "gpt-5-pro"), ["gpt-5-pro"]),
    "nano proposer": (meta("openai", "gpt-4.1-nano"), ["meta_model", "nano"]),
    "stage twice": (twice, ["`main`", "twice"]),
    "stage without id": (nameless, ["stages[0].template.stage_id"]),
    "unwritten stage": (unwritten_second, ["`second`", "baseline messages"]),
    "instruction count": (
        lambda spec: setattr(spec.proposer, "instruction_count", 65), ["65", "[0, 64]"]
    ),
    "mode": (no_mode, ["`offline` is missing"]),
    "threshold": (bootstrap(min_reward=1.5), ["min_reward", "1.5"]),
    "demo sets": (bootstrap(max_demo_sets=-1), ["max_demo_sets", "-1"]),
    "negative cap": (budget(max_trials=-1), ["budget.max_trials", "-1"]),
    "nan money": (budget(max_cost_usd=math.nan), ["max_cost_usd", "nan"]),
    "role": (budget(max_cost_usd_by_role={"cook": 1}), ["`cook`", "`judge`"]),
    "role money": (budget(max_cost_usd_by_role={"judge": -1}), ["judge", "-1"]),
    "target": (budget(target_reward=0), ["target_reward", "(0, 1]"]),
    "few rollouts": (budget(max_rollouts=7), ["max_rollouts", "7", "6", "at least 8"]),
    "few tokens": (both(written(1000), budget(max_tokens=500)), ["max_tokens", "closing test"]),
    "little money": (
        both(written(1000), budget(max_cost_usd=100.0)), ["max_cost_usd", "closing test"]
    ),
    "little money for tasks": (
        both(written(1000), budget(max_cost_usd_by_role={"task": 100.0})),
        ["max_cost_usd_by_role.task", "closing test"],
    ),
    "unknown price": (
        both(model("openai_compatible", "mine"), budget(max_cost_usd=5)),
        ["policy_model", "openai_compatible/mine", "`price`"],
    ),
    "unknown price of one role": (
        both(meta("openai_compatible", "mine"), budget(max_cost_usd_by_role={"proposer": 5})),
        ["proposer.meta_model", "`price`"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("change", "words"), FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_is_told_with_its_place_its_value_and_the_fix(make_spec, change, words):
    spec = make_spec()
    change(spec)
    found = problems(spec)
    assert len(found) == 1
    assert all(word in found[0] for word in words), found


def test_every_fault_is_told_at_once(make_spec):
    spec = make_spec()
    changes = [FAULTS[name][0] for name in ("uri", "concurrency", "threshold", "negative cap")]
    both(*changes)(spec)
    found = problems(spec)
    assert len(found) == 4
    with pytest.raises(SpecInvalid, match="4 problems") as refused:
        require_none(found)
    assert all(problem in refused.value.message for problem in found)
    assert list(refused.value.metadata.values()) == found


def test_a_cap_that_is_just_enough_is_no_fault(make_spec):
    spec = make_spec()
    written(1000)(spec)
    tokens = 8 * (1000 + len("Sort it.") + len("{query}"))
    budget(max_tokens=tokens, max_rollouts=8, max_cost_usd=float(tokens))(spec)
    assert problems(spec) == []
    spec.budget.max_tokens -= 1
    assert len(problems(spec)) == 1


def test_a_given_price_lifts_the_refusal_of_an_unknown_one(make_spec):
    spec = make_spec()
    both(model("openai_compatible", "mine"), budget(max_cost_usd=5))(spec)
    spec.policy_model.price.input_usd_per_million = 0.1
    assert problems(spec) == []


def test_a_job_that_learns_its_baseline_needs_rollouts_for_it(make_spec):
    spec = make_spec(stages=[])
    budget(max_rollouts=9)(spec)
    assert ["learning" in one for one in problems(spec)] == [True]
    spec.budget.max_rollouts = 10
    assert problems(spec) == []


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (pool("test_pool"), "hold out"),
        (pool("test_pool", [90, 91]), "2 rows"),
        (pool("validation_pool", [90]), "noisy"),
        (pool("bootstrap_pool"), "no bootstrap pool"),
        (bootstrap(max_demo_sets=-2), "max_demo_sets"),
        (lambda spec: setattr(spec.proposer, "instruction_count", 0), "instruction_count"),
    ],
)
def test_what_is_doubtful_is_warned_of(make_spec, change, word):
    spec = make_spec()
    change(spec)
    assert any(word in warning for warning in spec_warnings(spec))


def test_warns_of_a_program_of_which_nothing_is_optimised(make_spec):
    spec = make_spec()
    spec.stages[0].optimise_instruction = spec.stages[0].optimise_demos = False
    assert any("nothing to search" in warning for warning in spec_warnings(spec))


def test_warns_that_rows_of_a_whole_program_label_no_single_stage(make_spec):
    spec = make_spec()
    twice(spec)
    spec.stages[1].template.stage_id = "second"
    assert any("labelled demos" in warning for warning in spec_warnings(spec))


# Pools.


def test_explicit_seeds_come_before_ranges_with_their_step():
    found = expand(
        types_v1.SeedPool(
            seeds=[9, 3],
            ranges=[
                types_v1.SeedRange(start=10, end=16, step=3),
                types_v1.SeedRange(start=0, end=2),
            ],
        )
    )
    assert found == [9, 3, 10, 13, 0, 1]


@pytest.mark.parametrize(
    ("name", "seeds", "ranges", "words"),
    [
        ("online_pool", [], [], ["`online_pool`", "empty"]),
        ("validation_pool", [], [], ["`validation_pool`", "empty"]),
        ("online_pool", [5, 5, 6], [], ["repeats", "(5)"]),
        ("online_pool", [-1], [], ["-1", "start at 0"]),
        ("online_pool", [], [{"start": 0, "end": 9, "step": -1}], ["step -1"]),
        ("online_pool", [], [{"start": 9, "end": 9}], ["from 9 to 9", "empty"]),
        ("online_pool", [], [{"start": 0, "end": 2_000_000}], ["2000000", "100000"]),
        ("test_pool", [20, 21, 99], [], ["2 seeds", "`validation_pool`", "(20, 21)"]),
        ("reference_pool", [0], [], ["`bootstrap_pool`", "disjoint"]),
        ("reference_pool", [30], [], ["`test_pool`", "disjoint"]),
    ],
)
def test_a_fault_of_a_pool_is_told_once(make_spec, name, seeds, ranges, words):
    spec = make_spec()
    pool(name, seeds, ranges)(spec)
    found = pool_problems(spec.offline)
    assert len(found) == 1, found
    assert all(word in found[0] for word in words), found


def test_pools_of_the_search_may_overlap(make_spec):
    spec = make_spec()
    pool("online_pool", range(0, 26))(spec)
    assert pool_problems(spec.offline) == []


def test_many_repeats_are_found_in_no_time(make_spec):
    spec = make_spec()
    pool("online_pool", [7] * 50_000)(spec)
    assert len(pool_problems(spec.offline)) == 1


@given(
    st.lists(st.integers(0, 50), max_size=5),
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 40), st.integers(0, 5)), max_size=3),
)
def test_a_pool_is_expanded_to_what_its_ranges_hold(seeds, ranges):
    found = expand(
        types_v1.SeedPool(
            seeds=seeds,
            ranges=[types_v1.SeedRange(start=a, end=a + n, step=s) for a, n, s in ranges],
        )
    )
    wanted = list(seeds)
    for start, size, step in ranges:
        wanted += [k for k in range(start, start + size) if (k - start) % max(1, step) == 0]
    assert found == wanted


def test_a_job_whose_test_the_suite_cannot_pay_any_more_is_refused(make_spec):
    spec = make_spec()
    both(model("openai", "gpt-known"), written(1000))(spec)
    (found,) = problems(spec, tenant_left=5.0)
    for part in ("BURNISH_TENANT_MAX_USD", "leave 5", "closing test", "test_pool"):
        assert part in found
    assert problems(spec, tenant_left=1e9) == []


def test_under_a_cap_of_the_suite_an_unknown_price_is_refused(make_spec):
    spec = make_spec()
    model("openai_compatible", "mine")(spec)
    (found,) = problems(spec, tenant_left=1e9)
    assert "policy_model" in found
    assert "`price`" in found
