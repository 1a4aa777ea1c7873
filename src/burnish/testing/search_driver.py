"""Plays the controller towards a search service: keeps the log, observes cells, restores studies.

What a candidate is worth is a `World`: made up, and the same in every process.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field

from grpc import aio

from burnish import identity
from burnish.api.search import v1 as search_v1
from burnish.api.types import v1 as types_v1

TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Rewards that add up from the options chosen and the data row.

    Attributes:
        seed: Seed of everything that is made up.
        stage_ids: Stages of the program.
        instruction_count: Instructions per stage, the baseline's included.
        demo_set_count: Demo sets per stage, the empty one included.
        failure_share: Share of cells that have no measurement, in [0, 1].
    """

    seed: int = 0
    stage_ids: tuple[str, ...] = ("main",)
    instruction_count: int = 3
    demo_set_count: int = 3
    failure_share: float = 0.0

    def components(self) -> list[types_v1.Component]:
        """Returns the components, without their text, as a search may be given them."""
        found = []
        for stage in self.stage_ids:
            found += [self.instruction(stage, place) for place in range(self.instruction_count)]
            for place in range(self.demo_set_count):
                demos = [
                    identity.DemoContent(bindings={"n": str(n)}, messages=()) for n in range(place)
                ]
                component = types_v1.Component(
                    component_id=identity.demo_set_id(stage_id=stage, demos=demos),
                    stage_id=stage,
                    source=types_v1.COMPONENT_SOURCE_SHUFFLED
                    if place
                    else types_v1.COMPONENT_SOURCE_ZERO_SHOT,
                )
                component.demo_set.SetInParent()
                found.append(component)
        return found

    def instruction(self, stage_id: str, place: int) -> types_v1.Component:
        """Returns an instruction; place 0 is the baseline's."""
        component = types_v1.Component(
            component_id=identity.instruction_id(stage_id=stage_id, text=f"instruction {place}"),
            stage_id=stage_id,
            source=types_v1.COMPONENT_SOURCE_PROPOSED
            if place
            else types_v1.COMPONENT_SOURCE_BASELINE,
        )
        component.instruction.SetInParent()
        return component

    def baseline_id(self) -> str:
        """Returns the id of the baseline."""
        return identity.candidate_id(
            {
                stage: (
                    identity.instruction_id(stage_id=stage, text="instruction 0"),
                    identity.demo_set_id(stage_id=stage, demos=[]),
                )
                for stage in self.stage_ids
            }
        )

    def quality(self, candidate: types_v1.Candidate) -> float:
        """Returns what a candidate's rewards are drawn around."""
        choices = [
            choice
            for stage in sorted(candidate.stages)
            for choice in (
                candidate.stages[stage].instruction_id,
                candidate.stages[stage].demo_set_id,
            )
        ]
        return 0.5 + 0.4 * sum(self._draw(choice) - 0.5 for choice in choices) / len(choices)

    def observe(self, candidate: types_v1.Candidate, cell: types_v1.Cell) -> types_v1.Observation:
        """Returns what is measured for a cell: the same whenever it is asked."""
        key = f"{cell.candidate_id}/{cell.pool}/{cell.seed}/{cell.repeat}"
        if self._draw("failure/" + key) < self.failure_share:
            failure = types_v1.Failure(reason="TIMEOUT", message="made up", retryable=True)
            return types_v1.Observation(cell=cell, failure=failure)
        ease = 0.3 * (self._draw(f"row/{cell.pool}/{cell.seed}") - 0.5)
        passed = self._draw("reward/" + key) < self.quality(candidate) + ease
        return types_v1.Observation(cell=cell, reward=float(passed))

    def _draw(self, key: str) -> float:
        return random.Random(f"{self.seed}/{key}").random()  # noqa: S311 - made-up rewards


@dataclass(slots=True, kw_only=True)
class StudyDriver:
    """One study and its log, as a controller keeps them.

    Attributes:
        channel: Channel to the search service.
        world: What candidates are worth.
        study: The study.
        entries: The log.
        works: Works suggested so far.
        budget: Cells that the controller's own budget still allows; None is no limit.
    """

    channel: aio.Channel
    world: World
    study: search_v1.Study
    entries: list[search_v1.StudyEntry] = field(default_factory=list)
    works: list[search_v1.Work] = field(default_factory=list)
    budget: int | None = None

    @property
    def stub(self) -> search_v1.SearchServiceStub:
        """Stub of the service."""
        return search_v1.SearchServiceStub(self.channel)

    @property
    def revision(self) -> int:
        """Revision of the log."""
        return len(self.entries)

    async def create(self) -> None:
        """Creates the study, adds the components, tells the baseline's evaluation."""
        await self.stub.CreateStudy(
            search_v1.CreateStudyRequest(study=self.study), timeout=TIMEOUT_SECONDS
        )
        await self.add(self.world.components())
        baseline = types_v1.Candidate(candidate_id=self.world.baseline_id())
        for stage in self.world.stage_ids:
            first = self.world.instruction(stage, 0)
            baseline.stages[stage].instruction_id = first.component_id
            baseline.stages[stage].demo_set_id = identity.demo_set_id(stage_id=stage, demos=[])
        cells = [
            types_v1.Cell(candidate_id=baseline.candidate_id, pool=types_v1.POOL_VALIDATION, seed=s)
            for s in self.study.validation_pool.seeds
        ]
        await self.tell([self.world.observe(baseline, cell) for cell in cells])

    async def add(self, components: Sequence[types_v1.Component]) -> None:
        """Adds components."""
        entry = search_v1.StudyEntry(revision=self.revision + 1)
        entry.components_added.components.extend(components)
        await self.stub.AddComponents(
            search_v1.AddComponentsRequest(
                study=self.study.name, revision=entry.revision, components=components
            ),
            timeout=TIMEOUT_SECONDS,
        )
        self.entries.append(entry)

    async def tell(self, observations: Sequence[types_v1.Observation]) -> None:
        """Tells observations."""
        entry = search_v1.StudyEntry(revision=self.revision + 1)
        entry.observations_told.observations.extend(observations)
        await self.stub.TellObservations(
            search_v1.TellObservationsRequest(
                study=self.study.name, revision=entry.revision, observations=observations
            ),
            timeout=TIMEOUT_SECONDS,
        )
        self.entries.append(entry)

    async def ask(self) -> search_v1.Work:
        """Asks for the next work and records it."""
        answer = await self.stub.SuggestWork(
            search_v1.SuggestWorkRequest(
                study=self.study.name,
                ask_index=len(self.works),
                as_of_revision=self.revision,
                remaining_cell_count=self.budget,
            ),
            timeout=TIMEOUT_SECONDS,
        )
        entry = search_v1.StudyEntry(revision=self.revision + 1, work_suggested=answer.work)
        self.entries.append(entry)
        self.works.append(answer.work)
        return answer.work

    async def do(self, work: search_v1.Work) -> Sequence[search_v1.Trial]:
        """Observes a work's cells, tells them and closes it; returns its trials."""
        observations = [
            self.world.observe(trial.candidate, cell)
            for trial in work.evaluation.trials
            for cell in trial.cells
        ]
        if observations:
            await self.tell(observations)
        if self.budget is not None:
            self.budget -= len(observations)
        entry = search_v1.StudyEntry(revision=self.revision + 1)
        entry.work_closed.ask_index = work.ask_index
        answer = await self.stub.CloseWork(
            search_v1.CloseWorkRequest(
                study=self.study.name, revision=entry.revision, ask_index=work.ask_index
            ),
            timeout=TIMEOUT_SECONDS,
        )
        self.entries.append(entry)
        return answer.trials

    async def run(self, *, most_asks: int = 1000) -> None:
        """Asks and does until there is no more work, or so many times."""
        for _ in range(most_asks):
            work = await self.ask()
            if work.WhichOneof("action") == "finished":
                return
            await self.do(work)

    async def restore(self, channel: aio.Channel) -> None:
        """Refills the study in another service, from the log, and goes on there."""
        self.channel = channel
        requests = [search_v1.RestoreStudyRequest(study=self.study)]
        requests += [search_v1.RestoreStudyRequest(entry=entry) for entry in self.entries]
        await self.stub.RestoreStudy(iter(requests), timeout=TIMEOUT_SECONDS)

    async def rank(self, count: int = 10) -> Sequence[search_v1.RankedCandidate]:
        """Ranks the candidates."""
        answer = await self.stub.RankCandidates(
            search_v1.RankCandidatesRequest(
                study=self.study.name, as_of_revision=self.revision, count=count
            ),
            timeout=TIMEOUT_SECONDS,
        )
        return answer.candidates

    def cell_count(self) -> int:
        """Returns how many cells were suggested."""
        return sum(len(t.cells) for work in self.works for t in work.evaluation.trials)
