"""Rubrics: both forms, every fault at once, and sums that can be checked by hand."""

import contextlib
import json
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.rubric_files import load_rubric, parse_value
from burnish.rubric_forms import Form, form_of, read_rubric, unknown_keys
from burnish.rubrics import (
    Criterion,
    Rubric,
    RubricInvalid,
    blend,
    rubric_problems,
    to_value,
    total,
)

TASK = {
    "version": "1",
    "goal_text": "Answer the customer.",
    "criteria": [
        {"id": "right", "description": "Is right.", "weight": 3, "required": True},
        {"id": "short", "description": "Is short."},
    ],
}


def criteria(**weights: float) -> tuple[Criterion, ...]:
    return tuple(Criterion(criterion_id=name, weight=weight) for name, weight in weights.items())


def test_task_form_is_read_with_its_defaults():
    assert read_rubric(TASK) == Rubric(
        version="1",
        goal="Answer the customer.",
        criteria=(
            Criterion(criterion_id="right", description="Is right.", weight=3.0, required=True),
            Criterion(criterion_id="short", description="Is short."),
        ),
    )


@pytest.mark.parametrize(
    "value",
    [
        {"event": [{"id": "e"}], "outcome": [{"id": "o", "weight": 2}]},
        {"events": {"criteria": [{"name": "e"}]}, "outcome": {"criteria": [{"name": "o",
         "weight": 2.0}]}},
    ],
)  # fmt: skip
def test_both_wire_forms_of_a_verifier_rubric_mean_the_same(value):
    assert read_rubric(value) == Rubric(criteria=criteria(o=2.0), event_criteria=criteria(e=1.0))


def test_a_form_that_is_not_wanted_is_refused():
    verifier = {"outcome": [{"id": "o"}], "event": []}
    assert form_of(verifier) is Form.VERIFIER
    assert form_of(TASK) is Form.TASK
    with pytest.raises(RubricInvalid, match="verifier rubric, and a task rubric is wanted"):
        read_rubric(verifier, expect=Form.TASK)
    with pytest.raises(RubricInvalid, match="task rubric, and a verifier rubric is wanted"):
        read_rubric(TASK, expect=Form.VERIFIER)


def test_every_fault_is_named_at_once():
    broken = {
        "version": [],
        "criteria": [
            {"id": "a", "weight": 0},
            {"id": "a", "weight": "much"},
            "b",
            {"description": "nameless", "required": 1},
            {"id": "c", "weight": float("nan")},
        ],
        "aggregation": "best",
    }
    with pytest.raises(RubricInvalid) as caught:
        read_rubric(broken)
    for part in (
        "`version` is list",
        "ids `a` are used twice",
        "`criteria[0]` has weight 0",
        "`criteria[1].weight` is 'much'",
        "`criteria[2]` is str",
        "`criteria[3]` has no `id`",
        "`criteria[3].required` is 1",
        "weight nan",
        "`aggregation` is 'best'",
    ):
        assert part in caught.value.message
    assert caught.value.metadata["problems"] == "9"


def test_halves_of_characters_are_refused():
    value = json.loads(
        '{"goal_text": "\\ud800", "criteria": [{"id": "a", "description": "\\udfff"}]}'
    )
    with pytest.raises(RubricInvalid) as caught:
        read_rubric(value)
    assert "`goal_text` holds half of a character" in caught.value.message
    assert "`criteria[0]` has a description with half" in caught.value.message


def test_a_rubric_without_criteria_is_only_for_inheriting():
    assert rubric_problems(Rubric()) == ["it has no criteria; give at least one"]
    assert rubric_problems(Rubric(aggregation="inherit")) == []


def test_strict_rules_are_checked_on_demand():
    loose = Rubric(criteria=criteria(a=2.0, b=0.5), aggregation="sum")
    assert rubric_problems(loose) == []
    found = "; ".join(rubric_problems(loose, strict=True))
    for part in ("version", "goal_text", "not sum", "in (0, 1]", "sum to 1, not 2.5"):
        assert part in found
    strict = {**TASK, "strict": True, "criteria": [{"id": "a", "weight": 0.25},
              {"id": "b", "weight": 0.75}]}  # fmt: skip
    assert read_rubric(strict).criteria == criteria(a=0.25, b=0.75)


def test_unknown_keys_are_told():
    value = {**TASK, "colour": 1, "criteria": [{"id": "a", "wieght": 2}]}
    assert unknown_keys(value) == [
        "`colour` is no key of a rubric",
        "`criteria[0].wieght` is no key of a criterion",
    ]


def test_weighted_sum_divides_by_all_weights_and_counts_what_is_missing_as_0():
    assert total(criteria(a=3.0, b=1.0), {"a": 1.0, "b": 0.0}) == 0.75
    assert total(criteria(a=1.0, b=1.0), {"a": 1.0}) == 0.5


def test_sum_is_plain_and_custom_is_nobodys():
    both = {"a": 1.0, "b": 0.5}
    assert total(criteria(a=3.0, b=1.0), both, aggregation="sum") == 1.5
    assert total(criteria(a=3.0, b=1.0), both, aggregation="custom") is None


def test_a_required_criterion_with_0_makes_all_0():
    must = (Criterion(criterion_id="a", required=True), Criterion(criterion_id="b", weight=9.0))
    assert total(must, {"a": 0.0, "b": 1.0}) == 0.0
    assert total(must, {"b": 1.0}) == 0.0
    assert total(must, {"a": 0.1, "b": 1.0}) == pytest.approx(0.91)


@given(
    st.lists(
        st.tuples(
            st.floats(min_value=1e-300, max_value=1e300), st.floats(min_value=0, max_value=1)
        ),
        min_size=1,
        max_size=8,
    )
)
def test_weighted_sum_stays_between_the_least_and_the_most(pairs):
    items = criteria(**{f"c{i}": weight for i, (weight, _) in enumerate(pairs)})
    scores = {f"c{i}": score for i, (_, score) in enumerate(pairs)}
    found = total(items, scores)
    assert found is not None
    assert min(scores.values()) - 1e-9 <= found <= max(scores.values()) + 1e-9


def test_blend_takes_texts_of_the_override_and_multiplies_weights_that_differ_from_1():
    base = Rubric(
        version="1",
        goal="old",
        criteria=(
            Criterion(criterion_id="a", description="old a", weight=2.0),
            Criterion(criterion_id="b", description="old b"),
            Criterion(criterion_id="c", weight=5.0),
        ),
        aggregation="sum",
    )
    override = Rubric(
        goal="new",
        criteria=(
            Criterion(criterion_id="z", weight=4.0),
            Criterion(criterion_id="a", description="new a", weight=3.0),
            Criterion(criterion_id="b", weight=7.0, required=True),
        ),
        aggregation="inherit",
    )
    mixed = blend(base, override)
    assert (mixed.version, mixed.goal, mixed.aggregation) == ("1", "new", "sum")
    assert mixed.criteria == (
        Criterion(criterion_id="a", description="new a", weight=6.0),
        Criterion(criterion_id="b", description="old b", weight=7.0, required=True),
        Criterion(criterion_id="c", weight=5.0),
        Criterion(criterion_id="z", weight=4.0),
    )


def test_inherit_on_both_sides_is_the_default():
    assert blend(Rubric(aggregation="inherit"), Rubric(aggregation="inherit")).aggregation == (
        "weighted_sum"
    )


names = st.text(st.characters(categories=("L", "N", "P")), min_size=1, max_size=12)
rubrics = st.builds(
    lambda ids, weights, version: Rubric(
        version=version,
        goal="g",
        criteria=tuple(
            Criterion(criterion_id=name, weight=weight)
            for name, weight in zip(ids, weights, strict=False)
        ),
    ),
    ids=st.lists(names, min_size=1, max_size=5, unique=True),
    weights=st.lists(st.floats(min_value=0.01, max_value=100), min_size=5, max_size=5),
    version=st.sampled_from(["", "1", "2.0"]),
)


@given(rubrics)
def test_what_is_written_is_read_back(rubric):
    assert read_rubric(json.loads(json.dumps(to_value(rubric)))) == rubric
    events = replace(rubric, event_criteria=rubric.criteria)
    assert read_rubric(to_value(events)) == events


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["criteria", "id", "weight", "outcome", "event", "version", "aggregation",
                         "required", "strict", "goal_text"]), inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


@given(json_values)
def test_any_value_is_read_or_refused_with_its_faults(value):
    try:
        rubric = read_rubric(value)
    except RubricInvalid:
        return
    assert rubric_problems(rubric) == []
    assert all(math.isfinite(each.weight) for each in rubric.criteria)


FILES = {
    "r.json": json.dumps(TASK),
    "r.yaml": (
        "version: 1\ngoal_text: Answer the customer.\ncriteria:\n"
        "- {id: right, description: Is right., weight: 3, required: true}\n"
        "- {id: short, description: Is short.}\n"
    ),
    "r.toml": (
        'version = "1"\ngoal_text = "Answer the customer."\n'
        '[[criteria]]\nid = "right"\ndescription = "Is right."\nweight = 3\nrequired = true\n'
        '[[criteria]]\nid = "short"\ndescription = "Is short."\n'
    ),
}


@pytest.mark.parametrize("name", list(FILES))
def test_a_rubric_is_the_same_in_every_kind_of_file(tmp_path, name):
    path = tmp_path / name
    path.write_text(FILES[name])
    assert load_rubric(path) == read_rubric(TASK)


BAD_FILES = [
    ("r.txt", "", "ends in none of"),
    ("r.json", "{", "`r.json`: it is no JSON"),
    ("r.json", '{"criteria": NaN}', "NaN is no number"),
    ("r.json", "[" * 40 + "]" * 40, "nested deeper than 32"),
    ("r.json", "[" * 100_000, "nested too deeply"),
    ("r.yaml", "a: &x [1]\nb: *x", "aliases are not read"),
    ("r.yaml", "a: [1\nb: 2: 3", "it is no YAML"),
    ("r.yaml", "!!python/object:os.system {}", "it is no YAML"),
    ("r.toml", "a" + ".a" * 20_000 + " = 1", "more than 32 dots"),
    ("r.toml", "a = ", "it is no TOML"),
    ("r.json", " " * 300_000, "give at most"),
]


@pytest.mark.parametrize(("name", "text", "told"), BAD_FILES)
def test_files_that_cannot_be_read_are_refused_and_say_why(tmp_path, name, text, told):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(RubricInvalid, match=told):
        load_rubric(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RubricInvalid, match=r"none\.json. cannot be read"):
        load_rubric(tmp_path / "none.json")


@given(st.binary(max_size=200), st.sampled_from(["yaml", "json", "toml"]))
def test_any_bytes_are_read_or_refused(data, form):
    with contextlib.suppress(RubricInvalid):
        parse_value(data, form=form)
