import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish import templates
from burnish_controller.learning import SentCall, SentMessage, generalise, learn

SYSTEM = "You sort messages. Answer with one label."


def call(rollout: str, *texts: str, roles: tuple[str, ...] = ("system", "user")) -> SentCall:
    return SentCall(
        rollout_id=rollout,
        messages=tuple(SentMessage(role, text) for role, text in zip(roles, texts, strict=True)),
    )


def test_a_program_with_one_call_is_one_stage_named_main():
    stages = learn([[call(f"r{n}", SYSTEM, f"Message: value {n} end")] for n in range(4)])
    assert [stage.stage_id for stage in stages] == ["main"]
    assert stages[0].patterns == (("system", SYSTEM), ("user", "Message: value {input} end"))
    assert not stages[0].varies_in_system
    assert len(stages[0].calls) == 4


def test_two_system_messages_are_two_stages_in_call_order():
    stages = learn(
        [[call(f"r{n}", "Plan it.", f"q {n}x"), call(f"r{n}", "Do it.", f"plan {n}y")]
         for n in range(3)]
    )  # fmt: skip
    assert [stage.stage_id for stage in stages] == ["stage_0", "stage_1"]
    assert [stage.patterns[0][1] for stage in stages] == ["Plan it.", "Do it."]


@pytest.mark.parametrize(
    ("declared", "names"),
    [
        (["plan", "act"], ["plan", "act"]),
        (["plan"], ["stage_0", "stage_1"]),
        (["plan", "act", "check"], ["stage_0", "stage_1"]),
        (["plan", "plan"], ["stage_0", "stage_1"]),
        (["plan", ""], ["stage_0", "stage_1"]),
    ],
)
def test_stages_have_the_apps_own_names_when_it_has_as_many(declared, names):
    found = learn(
        [[call(f"r{n}", "Plan it.", f"q {n}x"), call(f"r{n}", "Do it.", f"plan {n}y")]
         for n in range(3)],
        declared=declared,
    )  # fmt: skip
    assert [stage.stage_id for stage in found] == names


def test_one_stage_is_main_whatever_the_app_calls_it():
    stages = learn([[call(f"r{n}", SYSTEM, f"m{n}")] for n in range(3)], declared=["sort"])
    assert [stage.stage_id for stage in stages] == ["main"]


def test_a_stage_called_a_varying_number_of_times_is_one_stage():
    rollouts = [[call(f"r{n}", SYSTEM, f"step {n}{k}") for k in range(n + 1)] for n in range(3)]
    stages = learn(rollouts)
    assert [stage.stage_id for stage in stages] == ["main"]
    assert len(stages[0].calls) == 6


def test_a_varying_system_text_becomes_a_wildcard_of_one_stage():
    stages = learn([[call(f"r{n}", f"Today is day {n}. Sort.", f"m{n}")] for n in range(3)])
    assert len(stages) == 1
    assert stages[0].varies_in_system
    assert stages[0].patterns[0] == ("system", "Today is day {context}. Sort.")


def test_two_stages_whose_system_texts_both_vary_stay_two():
    stages = learn(
        [
            [call(f"r{n}", f"Plan for {n}.", f"q{n}"), call(f"r{n}", f"Act for {n}!", f"p{n}")]
            for n in range(3)
        ]
    )
    assert [stage.patterns[0][1] for stage in stages] == [
        "Plan for {context}.", "Act for {context}!",
    ]  # fmt: skip


def test_calls_without_a_system_message_are_told_apart_by_their_place():
    roles = ("user",)
    stages = learn(
        [[call(f"r{n}", f"First {n}.", roles=roles), call(f"r{n}", f"Second {n}.", roles=roles)]
         for n in range(3)]
    )  # fmt: skip
    assert [stage.patterns for stage in stages] == [
        (("user", "First {input}."),), (("user", "Second {input}."),),
    ]  # fmt: skip


def test_equal_texts_are_literal_also_with_braces():
    text = 'Answer as {"label": "x"}'
    stages = learn([[call(f"r{n}", text, "same question")] for n in range(2)])
    assert stages[0].patterns[0][1] == 'Answer as {{"label": "x"}}'
    assert stages[0].patterns[1][1] == "same question"


def test_a_developer_message_counts_as_system():
    stages = learn(
        [[call(f"r{n}", f"Day {n}.", "q", roles=("developer", "user"))] for n in range(2)]
    )
    assert stages[0].varies_in_system


@pytest.mark.parametrize(
    ("texts", "pattern"),
    [
        (["same", "same"], "same"),
        (["Query: apple\nLabel:", "Query: pear\nLabel:"], "Query: {v}\nLabel:"),
        (["Query: applepie", "Query: applejack"], "Query: {v}"),
        (["is it mine?", "is it fine?"], "is it {v}?"),
        (["", "something"], "{v}"),
        (["häuser über", "hähne über"], "{v} über"),
        (["{a}: 1", "{a}: 2"], "{{a}}: {v}"),
    ],
)
def test_what_is_alike_is_literal_up_to_whole_words(texts, pattern):
    assert generalise(texts, name="v") == pattern


@given(
    st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8)), min_size=1),
    st.text(max_size=12),
    st.text(max_size=12),
)
def test_the_pattern_takes_every_text_that_it_was_learnt_from(values, prefix, suffix):
    texts = [prefix + a + b + c + suffix for a, b, c in values]
    pattern = templates.parse(generalise(texts, name="v"))
    for text in texts:
        found = templates.bind(pattern, text)
        assert found is not None
        assert pattern.render(found).strip() == text.strip()
