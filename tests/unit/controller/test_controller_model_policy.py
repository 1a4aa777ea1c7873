"""Models that a job may not name, told when it is created, all at once."""

import pytest

from burnish.api.job import v1 as job_v1
from burnish.api.policy import v1 as policy_v1
from burnish.api.types import v1 as types_v1
from burnish.errors import InvalidArgument
from burnish.model_table import MODELS_FILE
from burnish_controller.publishing import from_spec
from burnish_controller.validation import spec_problems


def problems(policy: tuple[str, str], meta: tuple[str, str]) -> list[str]:
    spec = job_v1.JobSpec(
        policy_model=types_v1.ModelSpec(provider=policy[0], model=policy[1]),
        proposer=job_v1.ProposerSpec(
            meta_model=types_v1.ModelSpec(provider=meta[0], model=meta[1])
        ),
    )
    found = spec_problems(spec, price_of=lambda *_: None, tenant_left=None)
    return [one for one in found if "policy_model" in one or "meta_model" in one]


@pytest.mark.parametrize(
    ("policy", "meta", "said"),
    [
        (("openai", "gpt-5-pro"), ("openai", "gpt-5-pro"), ["15 / 120", "15 / 120"]),
        (("openai", "gpt-4.1-nano"), ("openai", "gpt-4.1-nano"), ["proposer role"]),
        (("groq", "gpt-4o"), ("openai", "gemini-2.5-pro"), ['"openai"', '"google"']),
        (("anthropic", "claude-x"), ("anthropic", "claude-x"), ["does not serve the policy role"]),
        (("acme", "m"), ("acme", "m"), ["is not a provider", "is not a provider"]),
        (("openai", "gpt-9"), ("openai", "gpt-9"), []),
    ],
)
def test_every_model_that_is_refused_is_told_with_its_fix(policy, meta, said):
    found = problems(policy, meta)
    assert len(found) == len(said), found
    for problem, part in zip(found, said, strict=True):
        assert part in problem
        assert "; " in problem


def test_the_operator_s_table_holds_when_a_job_is_created(tmp_path, monkeypatch):
    path = tmp_path / "models.toml"
    path.write_text('unknown_models = "refuse"\n[providers.acme]\nany_model = true\n')
    monkeypatch.setenv(MODELS_FILE, str(path))
    assert problems(("openai", "gpt-4o"), ("acme", "m")) == []
    (found,) = problems(("openai", "gpt-9"), ("acme", "m"))
    assert MODELS_FILE in found


def test_an_online_policy_is_refused_the_same_models():
    def stage(stage_id: str, provider: str, model: str) -> policy_v1.StagePolicy:
        return policy_v1.StagePolicy(
            template=types_v1.PromptTemplate(
                stage_id=stage_id,
                messages=[types_v1.MessagePattern(role="system", pattern="Sort it.")],
            ),
            model=types_v1.ModelSpec(provider=provider, model=model),
        )

    spec = policy_v1.PolicySpec(
        stages=[
            stage("a", "openai", "gpt-5-pro"),
            stage("b", "anthropic", "claude-x"),
            stage("c", "openai", "gpt-5-nano"),
        ],
        arms=[policy_v1.PolicyArm(arm="plain", weight=1.0)],
    )
    with pytest.raises(InvalidArgument) as caught:
        from_spec("live", spec)
    said = caught.value.message
    assert "stage `a` has the model `openai/gpt-5-pro`" in said
    assert "does not serve the policy role" in said
    assert "stage `c`" not in said
