"""Burnish's own form: the same job, stricter keys."""

from typing import Any

import pytest

from burnish.config import ConfigError, PromptLearningConfig, resolve_job


def job(**changes: Any) -> dict[str, Any]:
    return {"job": {"algorithm": "mipro", "task_app": "http://localhost:8002"} | changes}


def problems(data: dict[str, Any]) -> dict[str, str]:
    with pytest.raises(ConfigError) as caught:
        PromptLearningConfig.from_mapping(data, env={})
    return {problem.path: problem.fix for problem in caught.value.problems}


BAD: list[tuple[dict[str, Any], str, str]] = [
    (job(task_ap="x"), "job.task_ap", "task_app"),
    (job(model={"provider": "local", "model": "local-reader", "base": 1}),
     "job.model.base", "base_url"),
    (job(model={"provider": "groq", "model": "gpt-4o"}), "job.model.model", "openai"),
    (job(model="gpt-4o"), "job.model", "[job.model]"),
    (job(model={"provider": "openai_compatible", "model": "m"}), "job.model.base_url", "/v1"),
    (job(model={"provider": "openai_compatible", "model": "m", "base_url": "x"}),
     "job.model.base_url", "http://"),
    (job(proposer={"effort": "HUGE"}), "job.proposer.effort", "LOW"),
    (job(proposer={"model": "gpt-5-nano", "provider": "openai"}), "job.proposer.model", "-mini"),
    (job(proposer={"output_tier": "RAPID"}), "job.proposer.output_tier", "LOW_CONTEXT"),
    (job(pools={"online": [1, 2], "test": [2]}), "job.pools.test", "disjoint"),
    (job(pools={"train": [1]}), "job.pools.train", "online"),
    (job(search={"preset": "gigantic"}), "job.search.preset", "light"),
    (job(search={"preset": "light", "batch_size": 5}), "job.search.batch_size", 'preset = "none"'),
    (job(search={"batch_sise": 5}), "job.search.batch_sise", "batch_size"),
    (job(search={"protocol": "dspy"}), "job.search.protocol", "miprov2"),
    (job(search={"protocol": "miprov2", "engine": "race"}), "job.search.protocol", "`engine`"),
    (job(search={"protocol": "miprov2"}, proposer={"generate_at_iterations": [0, 3]}),
     "job.search.protocol", "generate_at_iterations"),
    (job(search={"tpe": {"gama": 0.5}}), "job.search.tpe.gama", "gamma"),
    (job(budget={"max_rollouts": 0}), "job.budget.max_rollouts", "above 0"),
    (job(promotion={"min_probability": 1}), "job.promotion.min_probability", "below 1"),
    (job(promotion={"prior_deviation": 0}), "job.promotion.prior_deviation", "above 0"),
    (job(promotion={"search_evidence": 2}), "job.promotion.search_evidence", "true"),
    (job(promotion={"probability": 0.9}), "job.promotion.probability", "min_probability"),
    (job(stages="x"), "job.stages", "[[job.stages]]"),
    (job(stages=[{"id": "a"}, {"id": "a"}]), "job.stages[1].id", "own id"),
    (job(stages=[{"id": "a", "prompt": "x"}]), "job.stages[0].prompt", "instruction"),
    (job(stages=[{"id": "a", "model": {"provider": "x", "model": "m"}}]),
     "job.stages[0].model.provider", "openai"),
    (job(stages=[{"id": "a"}], edges=[["a", "b"]]), "job.edges[0]", "use one of a"),
    (job(verifier={"weights": {"environment": 1}}), "job.verifier.weights.environment", "env"),
    (job(verifier={"checks": [{"check": "nice"}]}), "job.verifier.checks[0].check", "f1"),
    (job(verifier={"weights": {"env": 1.0}}), "job.verifier.weights.outcome", "above 0"),
    (job(gepa={}), "job.gepa", 'algorithm = "gepa"'),
    (job(algorithm="gepa", search={"top_k": 1}), "job.search.top_k", "[job.gepa]"),
    (job(algorithm="miprov"), "job.algorithm", "mipro"),
    (job(task_app="gopher://x"), "job.task_app", "http://"),
]  # fmt: skip


@pytest.mark.parametrize(("data", "path", "fix"), BAD, ids=[row[1] for row in BAD])
def test_a_mistake_is_named_in_our_words(data, path, fix):
    found = problems(data)

    assert path in found, found
    assert fix in found[path]


def test_a_section_beside_the_job_is_refused():
    found = problems(job() | {"budgt": {"max_rollouts": 3}})

    assert list(found.values()) == ["move it to [job.budget]"]


def test_a_preset_that_is_none_says_nothing_of_sizes_and_names_them_all():
    told = problems(job(search={"preset": "mediun", "batch_size": 5, "num_iterations": 0}))
    assert told.keys() == {"job.search.preset", "job.search.num_iterations"}
    assert told["job.search.preset"] == "give one of light, medium, heavy, none"


def test_a_range_that_runs_backwards_is_told_as_it_stands():
    pools = {"validation": {"start": 10, "end": 5}, "online": [1, 2.5], "test": [-4]}
    with pytest.raises(ConfigError) as caught:
        PromptLearningConfig.from_mapping(job(pools=pools), env={})
    told = {problem.path: str(problem) for problem in caught.value.problems}
    assert "{start = 10, end = 5}" in told["job.pools.validation"]
    assert "write {start = 5, end = 10}" in told["job.pools.validation"]
    assert "float 2.5" in told["job.pools.online"]
    assert "not at -4" in told["job.pools.test"]


def test_the_light_preset_is_the_default_and_none_switches_it_off():
    light = PromptLearningConfig.from_mapping(job(), env={})
    own = PromptLearningConfig.from_mapping(job(search={"preset": "none"}), env={})
    shaped = PromptLearningConfig.from_mapping(job(search={"batch_size": 8}), env={})

    found = [config.mipro.auto for config in (light, own, shaped) if config.mipro is not None]
    assert found == ["light", None, None]


def test_checks_alone_make_the_whole_reward():
    config = PromptLearningConfig.from_mapping(
        job(verifier={"checks": ["exact_match", {"check": "numeric", "tolerance": 0.1}]}), env={}
    )

    verifier = resolve_job(config).verifier
    assert (verifier.weight_env, verifier.weight_event, verifier.weight_outcome) == (0, 0, 1)
    assert [(check.check, check.settings) for check in verifier.checks] == [
        ("exact_match", {}),
        ("numeric", {"tolerance": 0.1}),
    ]


def test_the_key_comes_from_the_variable_named():
    env = {"MY_KEY": "hush", "ENVIRONMENT_API_KEY": "other"}

    config = PromptLearningConfig.from_mapping(job(task_app_api_key_env="MY_KEY"), env=env)

    assert config.task_app_api_key is not None
    assert config.task_app_api_key.get_secret_value() == "hush"


def test_a_key_in_the_file_is_refused():
    assert "job.task_app_api_key" in problems(job(task_app_api_key="hush"))


def test_gepa_takes_its_own_table_and_our_pools():
    config = PromptLearningConfig.from_mapping(
        job(
            algorithm="gepa",
            max_concurrent=3,
            pools={"online": {"start": 0, "end": 40}, "test": [50]},
            gepa={"population": {"num_generations": 2}, "rollout": {"minibatch_size": 4}},
            proposer={"mode": "gepa-ai"},
        ),
        env={},
    )

    resolved = resolve_job(config)
    assert resolved.gepa is not None
    assert (resolved.gepa.num_generations, resolved.gepa.minibatch_size) == (2, 4)
    assert resolved.max_concurrent == 3
    assert resolved.proposer.mode == "gepa-ai"
    assert resolved.pools.test == (50,)


def test_a_plug_in_is_named_with_its_prefix():
    config = PromptLearningConfig.from_mapping(job(algorithm="plugin:my-search"), env={})

    assert resolve_job(config).algorithm == "my-search"
    assert PromptLearningConfig.from_mapping(config.to_dict(), env={}).algorithm == config.algorithm


def test_overrides_use_our_paths():
    config = PromptLearningConfig.from_mapping(
        job(), overrides={"job.budget.max_rollouts": 9, "job.model": {"provider": "local"}}, env={}
    )

    assert config.termination_config.max_rollouts == 9
