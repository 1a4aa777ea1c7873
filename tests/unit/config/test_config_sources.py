"""Files, references to the environment and overrides: bounded, and never leaking a secret."""

import time
import tomllib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.config import ConfigError, PromptLearningConfig
from burnish.config.toml_text import MAX_BYTES, parse_toml

BASE = """
[prompt_learning]
algorithm = "mipro"
task_app_url = "http://localhost:8002"
[prompt_learning.mipro]
"""


def load(text: str, **options: Any) -> PromptLearningConfig:
    return PromptLearningConfig.from_mapping(tomllib.loads(text), **{"env": {}} | options)


BOMBS = {
    "size": "#" + "x" * MAX_BYTES,
    "dotted key": ".".join(["a"] * 20_000) + " = 1",
    "dotted header": "[" + ".".join(["a"] * 40) + "]",
    "quoted dotted key": ".".join(['"a"'] * 10_000) + " = 1",
    "key behind a string": "x = {y = '''a'''', " + ".".join(["b"] * 20_000) + " = 1}",
    "nested arrays": "a = " + "[" * 500 + "]" * 500,
    "nested tables": "a = " + "{a = " * 500 + "1" + "}" * 500,
    "huge integer": "a = " + "9" * 5_000,
    "open strings": "a = " + '"\\' * 100_000,
    "open long strings": ('\\"""\n' * 50_000) + "\\",
    "not TOML": "a = = 3",
}


@pytest.mark.parametrize("name", sorted(BOMBS))
def test_a_bomb_is_refused_without_effort(name):
    started = time.process_time()

    with pytest.raises(ConfigError) as caught:
        parse_toml(BOMBS[name])

    assert len(caught.value.problems) == 1
    assert time.process_time() - started < 5, "quadratic parsing takes minutes"


def test_a_text_that_is_not_utf8_is_refused():
    with pytest.raises(ConfigError, match="UTF-8"):
        parse_toml(b"a = '\xff'")


def test_dots_and_brackets_in_strings_and_comments_do_not_count():
    dots = "." * 100 + "[" * 100
    text = (
        f"a = '{dots}'\nb = \"{dots}\"\nc = '''\n{dots}\n'''\nd = \"\"\"\n{dots}\"\"\"\n# {dots}\n"
    )

    assert parse_toml(text) == tomllib.loads(text)


def test_the_bounds_themselves_are_allowed():
    text = ".".join(["a"] * 33) + " = 1\nb = " + "[" * 32 + "]" * 32

    assert parse_toml(text) == tomllib.loads(text)


def test_a_byte_order_mark_is_skipped():
    assert parse_toml(b"\xef\xbb\xbfa = 1") == {"a": 1}


@given(st.text(alphabet="ab.[]{}=\"'\\\n# 1,", max_size=80))
@settings(max_examples=500, derandomize=True, deadline=None)
def test_parsing_agrees_with_tomllib_or_refuses(text):
    try:
        expected = tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError):
        with pytest.raises(ConfigError):
            parse_toml(text)
    else:
        assert parse_toml(text) == expected


# fmt: off
MAPPINGS = (
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["prompt_learning", "job", "mipro", "gepa", "algorithm", "policy", "stages",
                 "termination_config", "judge", "initial_prompt", "overrides", "model", "messages",
                 "modules", "seeds", "task_app_url", "evaluation", "search", "verifier", "x.y"]
            ),
            inner,
            max_size=4,
        ),
        max_leaves=25,
    )
)
# fmt: on


@given(MAPPINGS)
@settings(max_examples=500, derandomize=True, deadline=None)
def test_any_mapping_loads_or_is_refused_with_problems(value):
    data = value if isinstance(value, dict) else {"prompt_learning": value}
    try:
        PromptLearningConfig.from_mapping(data, overrides=data, env={})
    except ConfigError as error:
        problems = error.problems
    else:
        return
    assert problems


def test_references_expand_outside_prompts_only():
    config = load(
        BASE
        + """
batch_size = "$SIZE"
metaprompt = "keep $SIZE"
env_config = { path = "${ROOT}/x", price = "$$5", odd = "5$" }
[[prompt_learning.initial_prompt.messages]]
role = "user"
content = "it costs $SIZE"
""",
        env={"SIZE": "12", "ROOT": "/data"},
    )

    assert config.mipro is not None
    assert config.initial_prompt is not None
    assert config.mipro.batch_size == 12
    assert config.mipro.metaprompt == "keep $SIZE"
    assert config.mipro.env_config == {"path": "/data/x", "price": "$5", "odd": "5$"}
    assert config.initial_prompt.messages[0].pattern == "it costs $SIZE"


def test_a_dollar_survives_a_round_trip():
    config = load(BASE + 'env_config = { price = "$$FIVE", x = "$$$$" }')

    again = PromptLearningConfig.from_mapping(config.to_dict(), env={"FIVE": "5"})

    assert again.mipro is not None
    assert again.mipro.env_config == {"price": "$FIVE", "x": "$$"}


def test_a_missing_variable_is_a_problem_that_names_it():
    with pytest.raises(ConfigError) as caught:
        load(BASE + 'batch_size = "${NO_SUCH_SIZE}"')

    (problem,) = caught.value.problems
    assert problem.path == "prompt_learning.mipro.batch_size"
    assert "NO_SUCH_SIZE" in problem.message
    assert "export NO_SUCH_SIZE" in problem.fix


def test_a_missing_variable_of_a_key_is_a_warning():
    data = tomllib.loads(BASE)
    data["prompt_learning"]["task_app_api_key"] = "$NO_SUCH_KEY"

    config = PromptLearningConfig.from_mapping(data, env={})

    assert config.task_app_api_key is None
    assert "NO_SUCH_KEY" in config.warnings[0]


def test_a_value_from_the_environment_is_not_shown():
    data = tomllib.loads(BASE)
    data["prompt_learning"]["task_app_url"] = "$PRIVATE_PLACE"

    with pytest.raises(ConfigError) as caught:
        PromptLearningConfig.from_mapping(data, env={"PRIVATE_PLACE": "hush-hush"})

    assert "hush" not in str(caught.value)
    assert "$PRIVATE_PLACE" in str(caught.value)


def test_without_an_environment_nothing_of_the_process_is_read(monkeypatch):
    monkeypatch.setenv("SERVER_SECRET", "hush")

    with pytest.raises(ConfigError, match="SERVER_SECRET is not set"):
        load(BASE + 'env_config = { x = "$SERVER_SECRET" }', env={})


def test_the_key_is_in_neither_repr_nor_dict():
    data = tomllib.loads(BASE)
    data["prompt_learning"]["mipro"]["task_app_api_key"] = "hush-hush"

    config = PromptLearningConfig.from_mapping(data, env={})

    assert config.task_app_api_key is not None
    assert config.task_app_api_key.get_secret_value() == "hush-hush"
    assert "hush" not in repr(config) + str(config) + str(config.to_dict())


def test_the_key_comes_from_the_environment_when_absent():
    config = load(BASE, env={"ENVIRONMENT_API_KEY": "k"})

    assert config.task_app_api_key is not None
    assert config.task_app_api_key.get_secret_value() == "k"


@pytest.mark.parametrize(
    "overrides",
    [
        {"prompt_learning.mipro.batch_size": 7},
        {"prompt_learning": {"mipro": {"batch_size": 7}}},
        {"overrides": {"prompt_learning.mipro.batch_size": 7}, "backend": "x", "auto_start": True},
    ],
)
@pytest.mark.parametrize("section", ["prompt_learning", "policy_optimization", ""])
def test_overrides_reach_every_dialect(overrides, section):
    data = tomllib.loads(BASE)["prompt_learning"]

    config = PromptLearningConfig.from_mapping(
        {section: data} if section else data, overrides=overrides, env={}
    )

    assert config.mipro is not None
    assert config.mipro.batch_size == 7
    assert config.warnings == ()


OVERRIDDEN = [
    ({"gepa": {"rollout_budget": 5}}, {"gepa.rollout.budget": 7}),
    ({"gepa": {"rollout": {"budget": 5}}}, {"gepa.rollout_budget": 7}),
    ({"gepa": {"rollout": {"budget": 5}}}, {"gepa": {"rollout": {"budget": 7}}}),
    ({"gepa": {"rollout": {"budget": 5}}}, {"prompt_learning.gepa.rollout": {"budget": 7}}),
]


@pytest.mark.parametrize(("file", "overrides"), OVERRIDDEN)
def test_an_override_wins_over_any_other_name_of_the_same_value(file, overrides):
    data = {"algorithm": "gepa", "task_app_url": "http://localhost:1"} | file

    config = PromptLearningConfig.from_mapping(data, overrides=overrides, env={})

    assert config.gepa is not None
    assert config.gepa.rollout.budget == 7


def test_an_overridden_pool_wins_from_the_top_level():
    config = load(BASE + "online_pool = [1]", overrides={"prompt_learning.online_pool": [2, 3]})

    assert config.mipro is not None
    assert config.mipro.online_pool == (2, 3)


def test_an_override_through_a_value_is_refused():
    with pytest.raises(ConfigError, match="is not a table"):
        load(BASE, overrides={"prompt_learning.algorithm.name": "x"})


def test_from_path_reads_a_file_and_knows_its_folder(tmp_path):
    file = tmp_path / "job.toml"
    file.write_text(BASE)

    config = PromptLearningConfig.from_path(file, overrides={"mipro.top_k": 1}, env={})

    assert config.base_dir == tmp_path.resolve()
    with pytest.raises(FileNotFoundError):
        PromptLearningConfig.from_path(tmp_path / "other.toml")


def test_from_path_names_the_file_in_its_error(tmp_path):
    file = tmp_path / "job.toml"
    file.write_text("algorithm = 3")

    with pytest.raises(ConfigError, match=r"job\.toml: "):
        PromptLearningConfig.from_path(file, env={})
