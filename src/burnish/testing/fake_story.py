"""The fixed log and result of a scripted job: baseline .45, winner .65."""

from __future__ import annotations

import itertools
import json

from burnish.api.job.v1 import job_event_pb2, job_result_pb2
from burnish.api.types.v1 import candidate_pb2, rollout_pb2

BASELINE_TEXT = "Answer with the intent."
WINNER_TEXT = "Answer with the intent only.\n- card_arrival: where is my card"

_ABORTED = rollout_pb2.Failure(reason="TASK_APP_DOWN", message="the app went away")


def estimate(mean: float, rows: int, width: float = 0.1) -> rollout_pb2.Estimate:
    """Returns an estimate with a symmetrical interval."""
    return rollout_pb2.Estimate(
        mean=mean, row_count=rows, lower=mean - width, upper=mean + width, confidence=0.95
    )


def story(*, failed: bool) -> list[job_event_pb2.JobEvent]:
    """Returns the log of a whole job: baseline .45, winner .65."""
    job = job_event_pb2
    event = job.JobEvent
    spent = rollout_pb2.Usage(input_tokens=900, output_tokens=100, call_count=40, cost_usd=0.0125)
    phases = [
        job.JOB_PHASE_UNSPECIFIED,
        job.JOB_PHASE_CHECK,
        job.JOB_PHASE_BASELINE,
        job.JOB_PHASE_BOOTSTRAP,
        job.JOB_PHASE_PROPOSE,
        job.JOB_PHASE_SEARCH,
    ]

    def phase(index: int) -> job_event_pb2.JobEvent:
        changed = job.PhaseChanged(from_phase=phases[index - 1], to_phase=phases[index])
        return event(phase_changed=changed)

    log = [
        event(
            state_changed=job.StateChanged(
                from_state=job.JOB_STATE_PENDING, to_state=job.JOB_STATE_RUNNING
            ),
            message="running",
        ),
        phase(1),
        phase(2),
        event(
            baseline_evaluated=job.BaselineEvaluated(
                candidate_id="cand_0", reward=estimate(0.45, 20)
            )
        ),
        phase(3),
        event(
            bootstrap_completed=job.BootstrapCompleted(
                rollout_count=20, passed_count=9, min_reward=0.8, demo_set_count=3
            )
        ),
    ]
    if failed:
        broke = job.StateChanged(
            from_state=job.JOB_STATE_RUNNING,
            to_state=job.JOB_STATE_FAILED,
            failure=_ABORTED,
        )
        return [*log, event(state_changed=broke, level=job.EVENT_LEVEL_ERROR)]
    log += [phase(4), event(component_added=_proposed()), phase(5)]
    for iteration, reward in enumerate((0.45, 0.65)):
        log += _iteration(iteration, reward, spent)
    return [*log, *_closing()]


def _closing() -> list[job_event_pb2.JobEvent]:
    job = job_event_pb2
    event = job.JobEvent
    tested = [
        job.TestEvaluated(candidate_id="cand_0", baseline=True, reward=estimate(0.44, 100)),
        job.TestEvaluated(candidate_id="cand_1", reward=estimate(0.64, 100)),
    ]
    winner = job.WinnerChosen(
        candidate_id="cand_1",
        test_difference=estimate(0.2, 100),
        verdict="The prompt got better: +0.20 on 100 held-out rows.",
    )
    phases = [job.JOB_PHASE_SEARCH, job.JOB_PHASE_TEST, job.JOB_PHASE_COMPLETE]
    moves = [
        event(phase_changed=job.PhaseChanged(from_phase=before, to_phase=after))
        for before, after in itertools.pairwise(phases)
    ]
    succeeded = job.StateChanged(from_state=job.JOB_STATE_RUNNING, to_state=job.JOB_STATE_SUCCEEDED)
    return [
        event(search_ended=job.SearchEnded(reason=job.TERMINATION_REASON_COMPLETED)),
        moves[0],
        *[event(test_evaluated=one) for one in tested],
        event(winner_chosen=winner),
        moves[1],
        event(state_changed=succeeded, message="succeeded"),
    ]


def _proposed() -> job_event_pb2.ComponentAdded:
    return job_event_pb2.ComponentAdded(
        component=candidate_pb2.Component(
            component_id="ins_1",
            stage_id="main",
            instruction=candidate_pb2.Instruction(text=WINNER_TEXT),
        ),
        index=1,
        author="local-proposer",
    )


def _iteration(
    number: int, reward: float, spent: rollout_pb2.Usage
) -> list[job_event_pb2.JobEvent]:
    job = job_event_pb2
    event = job.JobEvent
    candidate = f"cand_{number}"
    done = 20 * (number + 1)
    progress = job.JobProgress(
        rollouts_completed=done,
        rollouts_planned=40,
        trials_completed=number + 1,
        trials_planned=2,
        fraction=done / 40 * 0.9,
        usage=spent,
        best_reward=estimate(reward, 20),
    )
    progress.elapsed.FromSeconds(3 * (number + 1))
    progress.remaining.FromSeconds(3 * (1 - number))
    return [
        event(iteration_started=job.IterationStarted(iteration=number, planned_count=2)),
        event(
            trial_started=job.TrialStarted(
                trial_index=number, iteration=number, candidate_id=candidate, seed_count=20
            )
        ),
        event(
            trial_completed=job.TrialCompleted(
                trial_index=number,
                iteration=number,
                candidate_id=candidate,
                reward=estimate(reward, 20),
                seed_count=20,
            )
        ),
        event(
            new_incumbent=job.NewIncumbent(
                candidate_id=candidate,
                reward=estimate(reward, 20),
                trial_index=number,
                iteration=number,
            )
        ),
        event(progress=progress),
        event(budget_updated=job.BudgetUpdated(total=spent, by_role={"task": spent})),
        event(
            iteration_completed=job.IterationCompleted(
                iteration=number, cumulative_trial_count=number + 1
            )
        ),
    ]


def scripted_result() -> job_result_pb2.JobResult:
    """Returns what every scripted job found."""
    scores = [(0.44, 0.45), (0.64, 0.65)]
    candidates = [
        job_result_pb2.CandidateResult(
            candidate=candidate_pb2.Candidate(
                candidate_id=f"cand_{index}",
                stages={
                    "main": candidate_pb2.StageChoice(
                        instruction_id=f"ins_{index}", demo_set_id=f"dem_{index}"
                    )
                },
            ),
            rank=2 - index,
            baseline=index == 0,
            search=estimate(search, 40),
            validation=estimate(search, 20),
            test=estimate(test, 100),
            test_scores=[job_result_pb2.SeedScore(seed=500, reward=float(index))],
            objectives={"prompt_length": estimate(100.0 + 50 * index, 0, 0.0)},
            standing=candidate_pb2.STANDING_FRONT,
        )
        for index, (test, search) in enumerate(scores)
    ]
    pattern = candidate_pb2.MessagePattern
    return job_result_pb2.JobResult(
        best=candidates[1],
        baseline=candidates[0],
        test_difference=estimate(0.2, 100),
        verdict="The prompt got better: +0.20 on 100 held-out rows.",
        candidates=[candidates[1], candidates[0]],
        components=_components(),
        history=[
            job_result_pb2.TrialScore(
                trial_index=index,
                iteration=index,
                candidate_id=f"cand_{index}",
                kind="minibatch",
                reward=estimate(search, 20),
                best_so_far=search,
            )
            for index, (_, search) in enumerate(scores)
        ],
        usage_by_role={
            "task": rollout_pb2.Usage(
                input_tokens=900, output_tokens=100, call_count=40, cost_usd=0.0125
            ),
            "proposer": rollout_pb2.Usage(input_tokens=300, output_tokens=80, call_count=2),
        },
        rollouts_by_phase={"baseline": 20, "bootstrap": 20, "search": 40, "test": 200},
        proposer_description="local-proposer, mined from 70 rows",
        tradeoff=job_result_pb2.Tradeoff(
            objective="prompt_length",
            front=[
                job_result_pb2.TradeoffPoint(
                    candidate_id=f"cand_{index}",
                    reward=estimate(scores[index][1], 40),
                    cost=estimate(100.0 + 50 * index, 0, 0.0),
                )
                for index in (1, 0)
            ],
            candidate_count=2,
        ),
        templates=[
            candidate_pb2.PromptTemplate(
                stage_id="main",
                messages=[
                    pattern(role="system", pattern=BASELINE_TEXT),
                    pattern(role="user", pattern="Intents: a, b\nQuery: {query}"),
                ],
            )
        ],
    )


def _components() -> list[candidate_pb2.Component]:
    demo = candidate_pb2.Demo(
        bindings={"query": "When will my card arrive?"},
        messages=[json.dumps({"role": "assistant", "content": "card_arrival"}).encode()],
        reward=1.0,
        seed=3,
        source=candidate_pb2.DEMO_SOURCE_BOOTSTRAPPED,
    )
    component = candidate_pb2.Component
    return [
        component(
            component_id="ins_0",
            stage_id="main",
            instruction=candidate_pb2.Instruction(text=BASELINE_TEXT),
            source=candidate_pb2.COMPONENT_SOURCE_BASELINE,
        ),
        component(
            component_id="ins_1",
            stage_id="main",
            instruction=candidate_pb2.Instruction(text=WINNER_TEXT),
            source=candidate_pb2.COMPONENT_SOURCE_PROPOSED,
        ),
        component(component_id="dem_0", stage_id="main", demo_set=candidate_pb2.DemoSet()),
        component(
            component_id="dem_1", stage_id="main", demo_set=candidate_pb2.DemoSet(demos=[demo])
        ),
    ]
