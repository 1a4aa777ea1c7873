"""The table of models, and what an operator may add to it."""

import importlib.metadata

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from burnish.config import ConfigError, PromptLearningConfig
from burnish.model_table import MODELS_FILE, ModelsInvalid, load_table, parse_table
from burnish.models import ModelRole, check_model, known_price, model_table, provider_of
from burnish_runtime.settings import ServiceSettings, SettingsInvalid

OWN = """
unknown_models = "refuse"

[providers.mine]
any_model = true
roles = ["proposer", "judge"]

[[models]]
provider = "groq"
name = "moonshotai/Kimi-K9"
input_usd = 1.0
output_usd = 3

[[models]]
provider = "openai"
name = "kimi-k9"

[[refusals]]
pattern = 'gpt-4o(-mini)?'
roles = ["policy"]
message = "is refused in the {role} role, by the finance team"
fix = "use gpt-4.1-mini"
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    path = tmp_path / "models.toml"
    path.write_text(OWN)
    monkeypatch.setenv(MODELS_FILE, str(path))


def refused(provider: str, model: str, role: ModelRole) -> list[str]:
    found = check_model(provider=provider, model=model, role=role)
    return [f"{finding.message}; {finding.fix}" for finding in found if finding.refused]


def test_what_is_said_of_judges_holds_for_those_that_the_proposer_reads(tmp_path, monkeypatch):
    path = tmp_path / "models.toml"
    path.write_text(OWN.replace('roles = ["policy"]', 'roles = ["judge"]'))
    monkeypatch.setenv(MODELS_FILE, str(path))
    for role in (ModelRole.JUDGE, ModelRole.FEEDBACK_JUDGE):
        assert refused("mine", "any", role) == []
        (said,) = refused("openai", "gpt-4o", role)
        assert "finance team" in said


def test_an_operator_s_models_are_served_and_priced(own):
    assert check_model(provider="groq", model="kimi-k9", role=ModelRole.META) == ()
    assert check_model(provider="openai", model="kimi-k9", role=ModelRole.POLICY) == ()
    price = known_price("groq", "moonshotai/kimi-k9")
    assert price is not None
    assert (price.input_usd, price.output_usd) == (1.0, 3.0)
    assert known_price("openai", "kimi-k9") is None
    assert provider_of("kimi-k9") == "groq"


def test_an_operator_s_refusals_come_on_top(own):
    (said,) = refused("openai", "openai/gpt-4o-mini", ModelRole.POLICY)
    assert said == ("is refused in the policy role, by the finance team; use gpt-4.1-mini")
    assert refused("openai", "gpt-4o-mini", ModelRole.PROPOSER) == []


def test_an_operator_cannot_allow_what_is_a_wall(tmp_path, monkeypatch):
    path = tmp_path / "models.toml"
    path.write_text('[[models]]\nprovider = "openai"\nname = "gpt-5-pro"\n')
    monkeypatch.setenv(MODELS_FILE, str(path))
    assert all(refused("openai", "gpt-5-pro", role) for role in ModelRole)
    assert refused("openai", "gpt-5-nano", ModelRole.PROPOSER)


def test_an_unknown_model_is_refused_where_the_operator_says_so(own):
    (said,) = refused("openai", "gpt-9", ModelRole.POLICY)
    assert MODELS_FILE in said


def test_a_provider_of_the_operator_s_serves_its_roles(own):
    assert check_model(provider="mine", model="anything", role=ModelRole.JUDGE) == ()
    (said,) = refused("mine", "anything", ModelRole.POLICY)
    assert "does not serve the policy role" in said


def test_every_problem_of_a_model_is_told_at_once(own):
    said = refused("mine", "gpt-5-pro", ModelRole.POLICY)
    assert len(said) == 2
    assert "15 / 120" in said[0]


def test_a_plug_in_s_provider_is_one(monkeypatch):
    point = importlib.metadata.EntryPoint("plugged", "somewhere:Provider", "burnish.llm_providers")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [point])
    load_table.cache_clear()
    try:
        assert refused("plugged", "x", ModelRole.PROPOSER) == []
        assert refused("plugged", "x", ModelRole.POLICY)
        assert refused("plugged", "gpt-5-pro", ModelRole.JUDGE)
    finally:
        load_table.cache_clear()


def config(tmp_path, proposer: str) -> PromptLearningConfig:
    path = tmp_path / "job.toml"
    path.write_text(
        f"""
[prompt_learning]
algorithm = "mipro"
task_app_url = "http://127.0.0.1:8002"
[prompt_learning.policy]
model = "gpt-4o-mini"
provider = "openai"
[prompt_learning.mipro]
bootstrap_train_seeds = [0, 1, 2]
online_pool = [3, 4, 5]
test_pool = [6, 7, 8]
[prompt_learning.mipro.proposer]
{proposer}
"""
    )
    return PromptLearningConfig.from_path(path)


def test_a_file_may_name_a_provider_of_the_operator_s(tmp_path, monkeypatch, own):
    monkeypatch.delenv(MODELS_FILE)
    with pytest.raises(ConfigError, match="provider"):
        config(tmp_path, 'model = "m"\nprovider = "mine"')
    path = tmp_path / "own.toml"
    path.write_text("[providers.mine]\nany_model = true\n")
    monkeypatch.setenv(MODELS_FILE, str(path))
    read = config(tmp_path, 'model = "m"\nprovider = "Mine"')
    assert read.mipro is not None
    assert read.mipro.proposer is not None
    assert read.mipro.proposer.provider == "mine"


def test_all_that_is_wrong_in_a_table_is_told_at_once():
    text = """
unknown_models = "maybe"
extra = 1
[providers.Bad-Name]
roles = ["king"]
any_model = 3
[[models]]
provider = "nobody"
name = "x"
[[models]]
provider = "Bad-Name"
pattern = "("
[[models]]
provider = "Bad-Name"
name = "x"
pattern = "x"
input_usd = 1.0
[[models]]
provider = "Bad-Name"
name = "y"
input_usd = -1
output_usd = 2
[[refusals]]
pattern = "z"
why = "no"
"""
    with pytest.raises(ModelsInvalid) as caught:
        parse_table(text, name="own.toml")
    for part in (
        "`extra` is unknown",
        "`unknown_models` is 'maybe'; use warn or refuse",
        "providers.Bad-Name",
        "['king']",
        "`providers.Bad-Name.any_model` is 3",
        "`models[0].provider` is 'nobody'",
        "`models[1].pattern` is no regular expression",
        "`models[2]`: give either `name` or `pattern`",
        "`models[3].input_usd` is -1",
        "`refusals[0].why` is unknown",
        "`refusals[0].message` is missing",
        "`refusals[0].fix` is missing",
    ):
        assert part in caught.value.message


def test_a_wrong_file_stops_a_service_from_starting(tmp_path):
    path = tmp_path / "models.toml"
    path.write_text("[[models]]\nprovider = 3\n")
    environ = {MODELS_FILE: str(path), "BURNISH_LOG_LEVEL": "LOUD"}
    with pytest.raises(SettingsInvalid) as caught:
        ServiceSettings.from_environment(environ, service="proposer")
    assert {MODELS_FILE, "BURNISH_LOG_LEVEL"} <= caught.value.metadata.keys()
    with pytest.raises(SettingsInvalid, match="cannot be read"):
        ServiceSettings.from_environment({MODELS_FILE: str(tmp_path / "no")}, service="search")


_VALUES = st.recursive(
    st.booleans() | st.integers(-3, 3) | st.sampled_from(["openai", "gpt-4o", "(", "policy", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["provider", "name", "pattern", "roles", "input_usd", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def toml(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {toml(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(["providers", "models", "refusals", "unknown_models", "x"]), _VALUES
    )
)
def test_any_table_is_read_or_refused_with_its_name(tables):
    text = "\n".join(f"{key} = {toml(value)}" for key, value in tables.items())
    said = "own.toml: "
    try:
        parse_table(text, name="own.toml", known=model_table().providers)
    except ModelsInvalid as error:
        said = error.message
    assert said.startswith("own.toml: ")
