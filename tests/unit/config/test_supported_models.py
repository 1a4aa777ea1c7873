"""Which model may serve in which role."""

import pytest

from burnish.models import (
    ModelRole,
    bare_model,
    check_model,
    known_price,
    provider_of,
)

WRITING = [ModelRole.PROPOSER, ModelRole.MUTATION, ModelRole.META, ModelRole.FEEDBACK_JUDGE]
SERVING = [ModelRole.POLICY, ModelRole.PROXY, ModelRole.JUDGE]


@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-4o"),
        ("openai", "openai/GPT-4.1-mini"),
        ("openai", "gpt-5.1"),
        ("groq", "gpt-oss-20b"),
        ("groq", "openai/gpt-oss-120b"),
        ("groq", "groq/openai/gpt-oss-7b"),
        ("groq", "llama-3.3-70b-versatile"),
        ("groq", "llama-3.1-8b-instant"),
        ("groq", "qwen/qwen3-32b"),
        ("google", "gemini-2.5-flash-lite"),
        ("google", "models/gemini-2.5-pro"),
        ("local", "local-reader"),
        ("openai_compatible", "whatever-8b"),
    ],
)
def test_supported_models_pass_in_every_role(provider, model):
    assert all(check_model(provider=provider, model=model, role=role) == () for role in ModelRole)


@pytest.mark.parametrize("role", list(ModelRole))
@pytest.mark.parametrize(
    ("provider", "model"),
    [
        ("openai", "gpt-5-pro"),
        ("openai", "openai/GPT-5-Pro-2025-10-06"),
        ("openai_compatible", "gpt-5-pro"),
        ("groq", " gpt-5-pro"),
    ],
)
def test_gpt_5_pro_is_refused_everywhere(provider, model, role):
    found = check_model(provider=provider, model=model, role=role)

    assert [finding.about for finding in found if finding.refused] == ["model"]
    assert "is refused in every role" in found[0].message


@pytest.mark.parametrize("model", ["gpt-5-nano", "gpt-4.1-nano", "openai/gpt-5-nano-2025-08-07"])
def test_nano_models_serve_but_do_not_write(model):
    for role in WRITING:
        assert any(f.refused for f in check_model(provider="openai", model=model, role=role))
    for role in SERVING:
        assert not any(f.refused for f in check_model(provider="openai", model=model, role=role))


@pytest.mark.parametrize(
    ("provider", "model", "better"),
    [
        ("groq", "gpt-4o", "openai"),
        ("openai", "gpt-oss-20b", "groq"),
        ("openai", "gemini-2.5-pro", "google"),
        ("openai", "local-reader", "local"),
        ("local", "gpt-4o", "openai"),
    ],
)
def test_a_model_of_another_provider_is_refused_with_its_own(provider, model, better):
    (finding,) = check_model(provider=provider, model=model, role=ModelRole.POLICY)

    assert finding.refused
    assert f'provider = "{better}"' in finding.fix


def test_an_unknown_model_is_a_warning_and_an_unknown_provider_is_not():
    (model,) = check_model(provider="openai", model="gpt-9", role=ModelRole.POLICY)
    (provider,) = check_model(provider="acme", model="gpt-4o", role=ModelRole.POLICY)

    assert (model.refused, model.about) == (False, "model")
    assert (provider.refused, provider.about) == (True, "provider")


def test_prices_are_known_unknown_or_nothing():
    price = known_price("openai", "openai/gpt-4o-mini")
    local = known_price("local", "local-reader")

    assert price is not None
    assert (price.input_usd, price.output_usd) == (0.15, 0.60)
    assert local is not None
    assert local.input_usd == 0
    assert known_price("groq", "gpt-oss-20b") is None
    assert known_price("google", "gemini-2.5-pro-gt200k") is None


def test_names_are_compared_without_prefix_and_case():
    assert bare_model(" OpenAI/GPT-4o ") == "gpt-4o"
    assert provider_of("never-heard-of-it") is None


def test_a_provider_that_the_interceptor_does_not_call_serves_no_policy():
    (finding,) = check_model(provider="anthropic", model="claude-sonnet-4-5", role=SERVING[0])
    assert (finding.refused, finding.about) == (True, "provider")
    assert "anthropic" not in finding.fix
    for role in (*WRITING, ModelRole.JUDGE):
        assert check_model(provider="anthropic", model="claude-sonnet-4-5", role=role) == ()
