"""A study's log on the wire: what is read back is what was written."""

import pytest

from burnish.api.search.v1 import search_service_pb2 as search_v1
from burnish_search import convert_log
from burnish_search.changes import WorkSuggested
from burnish_search.model import ProposalMode, ProposalPlan, Work


@pytest.mark.parametrize("mode", ProposalMode)
def test_a_brief_is_read_back_as_it_was_written(mode):
    brief = ProposalPlan(
        proposal_id="generation-2/1",
        stage_ids=("answer",),
        count=3,
        parent_candidate_ids=("cand_a", "cand_b"),
        iteration=2,
        mode=mode,
        evidence_seeds=(7, 0, 12),
    )
    sent = convert_log.work(Work(ask_index=4, plan=brief, trials=(), revision=9))
    entry = search_v1.StudyEntry(revision=9, work_suggested=sent)

    assert convert_log.change("studies/one", entry, ("answer",)) == WorkSuggested(
        ask_index=4, plan=brief, trials=()
    )
