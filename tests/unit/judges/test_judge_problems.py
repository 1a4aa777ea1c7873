"""Every fault of a judge node is named at once, and the shipped graphs have none."""

from dataclasses import replace

import pytest

from burnish.rubrics import Criterion, Rubric
from burnish_verifier.judges.problems import example_problems, problems
from burnish_verifier.shipped import shipped_graphs
from burnish_verifier.steps import CalibrationExample, GoldExample, ModelRef, RubricJudge

OUTCOME = Rubric(criteria=(Criterion(criterion_id="a"),))
EVENTS = replace(OUTCOME, event_criteria=(Criterion(criterion_id="e"),))
TRACE = '{"event_history": [{"type": "x"}, {"type": "y"}]}'
CONTRACT = {
    "zero_shot_verifier",
    "zero_shot_verifier_rubric_single",
    "zero_shot_verifier_rubric_mapreduce",
    "zero_shot_verifier_rubric_rlm",
    "zero_shot_verifier_rubric_rlm_v2",
    "zero_shot_verifier_fewshot_single",
    "zero_shot_verifier_fewshot_mapreduce",
    "zero_shot_verifier_fewshot_rlm",
    "zero_shot_verifier_contrastive_single",
    "zero_shot_verifier_contrastive_mapreduce",
    "zero_shot_verifier_contrastive_rlm",
    "zero_shot_rlm_single",
    "zero_shot_rlm_single_v1",
    "zero_shot_rlm_single_v2",
}


def test_every_graph_of_the_contract_is_shipped_and_sound():
    graphs = shipped_graphs()
    assert set(graphs) == CONTRACT
    for graph in graphs.values():
        assert graph.description
        for node in graph.nodes:
            if isinstance(node.step, RubricJudge):
                assert problems(node.step, node.scope) == []


@pytest.mark.parametrize("mode", ["auto", "single", "few_shot", "contrastive"])
def test_a_sound_judge_has_no_problems(mode):
    assert problems(RubricJudge(rubric=OUTCOME, mode=mode), "output") == []
    assert problems(RubricJudge(mode=mode), "transcript") == []


def test_every_fault_is_named_at_once():
    step = RubricJudge(
        rubric=Rubric(
            criteria=(Criterion(criterion_id="a", weight=0.0),),
            event_criteria=(Criterion(criterion_id="e"),),
        ),
        model=ModelRef(provider="openai", model="gpt-5-pro", max_output_tokens=-1),
        votes=10,
        mode="rlm",
        token_budget=1_000,
        part_tokens=3,
        gold_examples=(GoldExample(summary=" ", gold_reward=1.5),),
        instructions="x" * 20_000,
    )
    found = "; ".join(problems(step, "output"))
    for part in (
        "`votes` is 10",
        "`instructions` are longer",
        "mode rlm needs at least 32000",
        "`part_tokens` is 3",
        "rubric: `criteria[0]` has weight 0.0",
        "judges events and reads the output alone",
        "mode rlm reads a trace",
        "`gpt-5-pro` of `openai` is refused in every role",
        "`model.max_output_tokens` is -1",
        "`gold_examples` are for mode contrastive",
        "`gold_examples[0].gold_reward` is 1.5",
        "has neither a summary nor a trace",
    ):
        assert part in found


def test_a_reading_judge_needs_its_budget_for_every_vote():
    step = RubricJudge(mode="rlm", token_budget=64_000, votes=3)
    assert len(problems(step, "transcript")) == 1
    assert problems(replace(step, votes=2), "transcript") == []


def test_a_provider_of_a_plug_in_is_not_refused():
    step = RubricJudge(rubric=OUTCOME, model=ModelRef(provider="mine", model="m"))
    assert problems(step, "output") == []


def test_events_of_an_example_have_one_reward_each():
    def example(*rewards: float, trace: str = TRACE) -> CalibrationExample:
        return CalibrationExample(session_trace=trace, outcome_reward=0.5, event_rewards=rewards)

    assert example_problems([example(), example(0.1, 0.9)], []) == []
    assert "1 event rewards for 2 events" in example_problems([example(0.1)], [])[0]
    assert "no JSON" in example_problems([example(trace="{")], [])[0]
    assert "is 2.0" in example_problems([example(2.0, 0.0)], [])[0]
    assert "too many" in example_problems([example()] * 33, [])[0]
