"""Events as plain lines: the formats that scripts and people read."""

import pytest

from burnish.api.job.v1 import job_event_pb2 as job
from burnish.api.job.v1 import job_service_pb2 as job_service
from burnish.api.job.v1 import job_spec_pb2 as job_spec
from burnish.api.types.v1 import rollout_pb2
from burnish.cli.follow import View, sparkline
from burnish.cli.lines import EventLines, clock
from burnish.results import snapshot
from burnish.testing.fake_story import estimate, story


def lines_of(*events: job.JobEvent, algorithm: str = "mipro", engine: str = "") -> list[str]:
    formatter = EventLines(algorithm=algorithm, engine=engine)
    return [line for event in events for line in formatter.lines(event)]


def trial(index: int, mean: float | None, *, unscored: int = 0) -> job.JobEvent:
    completed = job.TrialCompleted(trial_index=index, seed_count=10, unscored_count=unscored)
    if mean is not None:
        completed.reward.CopyFrom(estimate(mean, 10 - unscored))
    event = job.JobEvent(trial_completed=completed)
    event.event_time.FromSeconds(3_661)
    return event


def test_a_trial_has_time_score_best_and_rows():
    baseline = job.JobEvent(baseline_evaluated=job.BaselineEvaluated(reward=estimate(0.5, 20)))
    lines = lines_of(baseline, trial(3, 0.25, unscored=2))
    assert lines[-1] == "  [01:01:01] [Trial 3] Score: 0.2500 (Best: 0.5000) N=8"


def test_a_trial_without_a_measurement_has_no_score():
    assert lines_of(trial(0, None, unscored=10)) == ["  [01:01:01] [Trial 0] Score: none N=0"]


def test_an_iteration_is_closed_once_with_its_best_score():
    def started(index: int) -> job.JobEvent:
        return job.JobEvent(
            iteration_started=job.IterationStarted(iteration=index, planned_count=2)
        )

    ended = job.JobEvent(iteration_completed=job.IterationCompleted(iteration=1))
    over = job.JobEvent(search_ended=job.SearchEnded(reason=job.TERMINATION_REASON_COMPLETED))
    lines = lines_of(
        started(0), trial(0, 0.4), trial(1, 0.6), started(1), trial(2, 0.5), ended, over
    )
    assert [line for line in lines if "Iteration" in line] == [
        "  Iteration 1/2... score: 0.60",
        "  Iteration 2/2... score: 0.50",
    ]


def test_the_last_look_at_the_best_is_no_iteration():
    beyond = job.JobEvent(iteration_started=job.IterationStarted(iteration=2, planned_count=2))
    over = job.JobEvent(search_ended=job.SearchEnded(reason=job.TERMINATION_REASON_COMPLETED))
    assert lines_of(beyond, trial(4, 0.5), over) == [
        "  Evaluating the best candidates once more...",
        "  [01:01:01] [Trial 4] Score: 0.5000 (Best: 0.5000) N=10",
        "  Search ended: completed",
    ]


def test_progress_has_every_figure():
    usage = rollout_pb2.Usage(input_tokens=1_500_000, output_tokens=500_000, cost_usd=0.5)
    progress = job.JobProgress(
        rollouts_completed=40,
        rollouts_planned=100,
        trials_completed=4,
        trials_planned=10,
        fraction=0.4,
        usage=usage,
        rollouts_unscored=1,
    )
    progress.elapsed.FromSeconds(65)
    progress.remaining.FromSeconds(3_700)
    assert lines_of(job.JobEvent(progress=progress)) == [
        "  Progress: 40% complete trials=4/10 iter=1/? rollouts=40/100 tokens=2.000M cost=$0.5000 "
        "elapsed=1:05 eta=1:01:40 unscored=1"
    ]


def test_an_unknown_price_is_unknown_and_not_zero():
    assert "cost=unknown" in lines_of(job.JobEvent(progress=job.JobProgress()))[0]


@pytest.mark.parametrize(
    ("cap", "figures"), [("max_cost_usd", "$1.0000 of $2.0000"), ("max_tokens", "1 of 2")]
)
def test_a_warning_tells_the_share_and_the_cap_in_its_unit(cap, figures):
    warning = job.BudgetWarning(cap=cap, percent=50, spent=1.0, limit=2.0)
    assert lines_of(job.JobEvent(budget_warning=warning)) == [
        f"  Budget: 50 % of {cap} is spent ({figures})"
    ]


def test_another_algorithm_is_called_by_its_name():
    changed = job.JobEvent(phase_changed=job.PhaseChanged(to_phase=job.JOB_PHASE_SEARCH))
    assert lines_of(changed, algorithm="random")[-1] == "Phase 2: random search"


@pytest.mark.parametrize(
    ("engine", "title"),
    [("race", "Race Optimization"), ("tpe", "TPE Optimization"), ("", "TPE Optimization")],
)
def test_the_search_is_called_by_the_engine_that_the_job_names(engine, title):
    made = job_service.Job(spec=job_spec.JobSpec(algorithm="mipro"))
    if engine:
        made.spec.algorithm_settings.update({"engine": engine})
    changed = job.JobEvent(phase_changed=job.PhaseChanged(to_phase=job.JOB_PHASE_SEARCH))
    assert lines_of(changed, engine=snapshot(made).engine)[-1] == f"Phase 2: {title}"


def test_every_event_of_a_whole_job_is_taken_by_lines_and_view():
    view = View(job_id="pl_1")
    log = story(failed=False)
    lines = lines_of(*log)
    for event in log:
        view.take(snapshot(_job()), event)
        view.render()
    assert view.best == 0.65
    assert view.roles == {"task": "$0.0125"}
    assert any("The prompt got better" in line for line in lines)


def _job():
    from burnish.api.job.v1 import job_service_pb2

    return job_service_pb2.Job(name="jobs/pl_1", phase=job.JOB_PHASE_SEARCH)


def test_a_sparkline_is_on_the_scale_from_0_to_1():
    assert sparkline([0.0, 0.5, 1.0, 2.0, -1.0]) == "▁▅██▁"


def test_spans_are_readable():
    assert [clock(5), clock(65.4), clock(3_700)] == ["0:05", "1:05", "1:01:40"]


def test_generations_tell_of_their_parents_and_of_what_became_of_their_children():
    def started(generation: int) -> job.JobEvent:
        begun = job.GenerationStarted(
            generation=generation, planned_count=6, population_count=1 + generation
        )
        return job.JobEvent(generation_started=begun)

    ended = job.GenerationCompleted(
        generation=1, proposed_count=3, accepted_count=2, best_reward=estimate(0.625, 64)
    )
    progress = job.JobEvent(progress=job.JobProgress(trials_completed=9))
    lines = lines_of(
        started(0), started(1), progress, job.JobEvent(generation_completed=ended),
        algorithm="gepa",
    )  # fmt: skip
    assert lines[:2] == [
        "  Generation 0/6: the initial population",
        "  Generation 1/6: parents out of 2",
    ]
    assert "iter=1/6" in lines[2]
    assert lines[3] == "  - 2 of 3 children accepted, best 0.6250"


def test_the_search_of_gepa_is_called_by_its_name():
    phase = job.PhaseChanged(to_phase=job.JOB_PHASE_SEARCH)
    assert lines_of(job.JobEvent(phase_changed=phase), algorithm="gepa")[1] == (
        "Phase 2: GEPA search"
    )
