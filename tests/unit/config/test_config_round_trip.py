"""Whatever loads can be written out and read back as the same job."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.config import PromptLearningConfig, resolve_job

IDS = st.text(alphabet="abcxyz_", min_size=1, max_size=6)
TEXTS = st.text(alphabet="ab {}$\"'\\\n.é", max_size=20)
POLICIES = st.fixed_dictionaries(
    {"model": st.sampled_from(["gpt-4o", "openai/gpt-5-nano"]), "provider": st.just("OpenAI")},
    optional={"temperature": st.floats(0, 2), "max_completion_tokens": st.integers(1, 9000)},
)
STAGES = st.lists(
    st.fixed_dictionaries(
        {"stage_id": IDS},
        optional={
            "baseline_instruction": TEXTS,
            "baseline_messages": st.lists(
                st.fixed_dictionaries({"role": st.just("user"), "content": TEXTS}), max_size=2
            ),
            "max_demo_slots": st.integers(1, 128),
            "policy": POLICIES,
        },
    ),
    max_size=3,
    unique_by=lambda stage: stage["stage_id"],
)


def pool(start: int, end: int) -> st.SearchStrategy[object]:
    """A pool inside [start, end), as a list or as a range."""
    numbers = st.integers(start, end - 1)
    ranges = st.fixed_dictionaries(
        {"start": st.just(start), "end": st.just(end)}, optional={"step": st.integers(1, 9)}
    )
    return st.lists(numbers, min_size=1, max_size=9) | ranges


MIPRO = st.fixed_dictionaries(
    {},
    optional={
        "num_iterations": st.integers(1, 99),
        "batch_size": st.integers(1, 99),
        "auto": st.sampled_from(["light", "MEDIUM", "heavy"]),
        "few_shot_score_threshold": st.floats(0, 1),
        "bootstrap_train_seeds": pool(0, 40),
        "online_pool": pool(40, 90),
        "val_seeds": pool(90, 120),
        "test_pool": pool(200, 300),
        "reference_pool": pool(300, 310),
        "stages": STAGES,
        "top_k": st.integers(1, 5),
        "num_demos": st.integers(1, 5),
        "num_instructions_per_module": st.integers(1, 5),
        "metaprompt": TEXTS,
        "env_config": st.dictionaries(IDS, TEXTS, max_size=3),
        "proposer_effort": st.sampled_from(["low", "Medium", "LOW_CONTEXT"]),
        "adaptive_pool": st.sampled_from(["LOW", {"level": "HIGH", "anchor_size": 3}]),
        "tpe": st.fixed_dictionaries({}, optional={"categorical_alpha": st.floats(0, 9)}),
    },
)
TOP = st.fixed_dictionaries(
    {},
    optional={
        "policy": POLICIES,
        "termination_config": st.fixed_dictionaries(
            {}, optional={"budget": st.integers(1, 999), "target_score": st.floats(0, 1)}
        ),
        "verifier": st.just({"enabled": True, "reward_source": "fused", "weight_event": 0.5}),
    },
)


def job_of(config: PromptLearningConfig) -> dict[str, object]:
    job = resolve_job(config, dataset_size=1000).to_dict()
    job.pop("warnings")
    return job


@given(mipro=MIPRO, top=TOP)
@settings(max_examples=300, derandomize=True, deadline=None)
def test_a_sound_mipro_job_survives_a_round_trip(mipro, top):
    data: dict[str, Any] = {
        "algorithm": "mipro",
        "task_app_url": "http://localhost:1",
        "mipro": mipro,
        **top,
    }
    data = {"prompt_learning": escape(data)}

    config = PromptLearningConfig.from_mapping(data, env={})
    again = PromptLearningConfig.from_mapping(config.to_dict(), env={})

    assert again.to_dict() == config.to_dict()
    assert job_of(again) == job_of(config)


def escape(value: Any) -> Any:
    """Doubles dollar signs outside prompts, as the author of such a file would."""
    if isinstance(value, dict):
        prompts = {"metaprompt", "content", "baseline_instruction"}
        return {key: item if key in prompts else escape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [escape(item) for item in value]
    return value.replace("$", "$$") if isinstance(value, str) else value
