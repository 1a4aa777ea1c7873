"""When a search has gone on too long without a better candidate."""

import pytest

from burnish.api.job import v1 as job_v1
from burnish.api.search import v1 as search_v1
from burnish_controller.phases import search, search_log

STALLED = "TERMINATION_REASON_NO_IMPROVEMENT"


@pytest.mark.parametrize(
    ("completed", "improved", "stops"), [(4, 0, False), (5, 0, True), (7, 3, False), (8, 3, True)]
)
async def test_the_patience_counts_from_the_last_new_best(make_scene, completed, improved, stops):
    scene = await make_scene(budget=job_v1.Budget(max_trials_without_improvement=5))
    scene.job.job.progress.trials_completed = completed
    scene.job.job.progress.trials_at_improvement = improved
    work = search_v1.Work(ask_index=0)
    work.finished.reason = search_v1.FINISH_REASON_COMPLETED
    scene.search.works = {0: work}
    assert (await search.suggest(scene.services, scene.job, 0) == STALLED) is stops


async def test_a_new_best_is_remembered_through_reports_and_restarts(make_scene):
    scene = await make_scene()
    ranked = search_v1.RankedCandidate()
    ranked.candidate.candidate_id = "cand_new"
    scene.search.ranked = [ranked]
    trial = search_v1.Trial(trial_index=6)
    await search_log.log_incumbent(scene.services, scene.job, 6, [trial])
    await scene.services.progress.report(scene.job, "search/6")
    stored = await scene.stores.restarted().jobs.get("job1")
    assert stored.progress.trials_at_improvement == 7
    await search_log.log_incumbent(scene.services, scene.job, 7, [search_v1.Trial(trial_index=7)])
    assert scene.job.job.progress.trials_at_improvement == 7
