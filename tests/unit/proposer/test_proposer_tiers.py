"""Efforts, output tiers and the models that may write."""

from itertools import pairwise

import pytest

from burnish.errors import InvalidArgument
from burnish_proposer.brief import Effort, OutputTier
from burnish_proposer.tiers import (
    CONTEXT_PLANS,
    ModelChoice,
    default_models,
    model_problems,
    output_limit,
    tier_problems,
)


def test_each_effort_has_its_documented_model():
    assert {e.value: (c.provider, c.model) for e, c in default_models().items()} == {
        "LOW_CONTEXT": ("groq", "openai/gpt-oss-120b"),
        "LOW": ("openai", "gpt-4o-mini"),
        "MEDIUM": ("openai", "gpt-4o"),
        "HIGH": ("openai", "gpt-5"),
    }


def test_single_efforts_can_be_given_another_model():
    models = default_models("low=local:local-proposer, HIGH = google:gemini-2.5-pro")
    assert models[Effort.LOW] == ModelChoice(provider="local", model="local-proposer")
    assert models[Effort.HIGH] == ModelChoice(provider="google", model="gemini-2.5-pro")
    assert models[Effort.MEDIUM].model == "gpt-4o"


def test_every_problem_of_the_overrides_is_told_at_once():
    with pytest.raises(InvalidArgument) as caught:
        default_models("LOW=gpt-4o, SOME=openai:gpt-4o, HIGH=openai:gpt-5-pro")
    for part in ("LOW=gpt-4o", "SOME=openai:gpt-4o", "gpt-5-pro"):
        assert part in caught.value.message


@pytest.mark.parametrize("model", ["gpt-4.1-nano", "gpt-5-nano", "openai/gpt-5-nano"])
def test_nano_models_may_not_write(model):
    (problem,) = model_problems(ModelChoice(provider="openai", model=model))
    assert "nano" in problem


@pytest.mark.parametrize("provider", ["openai", "openai_compatible", "some_plugin"])
def test_gpt_5_pro_is_refused_with_the_reason_whoever_serves_it(provider):
    (problem,) = model_problems(ModelChoice(provider=provider, model="gpt-5-pro"))
    assert "15 / 120 USD" in problem


@pytest.mark.parametrize(
    ("provider", "model"),
    [("local", "local-proposer"), ("some_plugin", "anything"), ("openai_compatible", "llama")],
)
def test_other_models_may_write(provider, model):
    assert model_problems(ModelChoice(provider=provider, model=model)) == []


@pytest.mark.parametrize("effort", list(Effort))
@pytest.mark.parametrize("tier", list(OutputTier))
def test_rapid_goes_only_with_the_least_context(effort, tier):
    refused = tier is OutputTier.RAPID and effort is not Effort.LOW_CONTEXT
    assert bool(tier_problems(effort, tier)) is refused


def test_output_limits_are_the_tiers_but_for_models_that_write_less():
    assert [output_limit(tier, "gpt-5") for tier in OutputTier] == [3_000, 10_000, 25_000]
    assert output_limit(OutputTier.SLOW, "openai/gpt-4o") == 16_384


def test_the_reference_corpus_has_up_to_fifty_thousand_tokens():
    assert CONTEXT_PLANS[Effort.HIGH].reference_tokens == 50_000


def test_more_effort_shows_more():
    plans = [CONTEXT_PLANS[effort] for effort in Effort]
    for less, more in pairwise(plans):
        assert less.rows < more.rows
        assert less.failures < more.failures
        assert less.demos < more.demos
        assert less.history < more.history
        assert less.reference_tokens < more.reference_tokens
        assert less.specification_tokens < more.specification_tokens
        assert less.program_tokens <= more.program_tokens
        assert less.prompt_tokens < more.prompt_tokens
        assert less.summary_calls < more.summary_calls
