"""Writes a job's study into an Optuna storage, for Optuna's own dashboard, plots and importances.

A parameter is a choice of the search: `stage/instruction` and `stage/demo_set`, its values the ids
of the components. A trial is a trial of the search, its value the mean reward over its rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any

from burnish.api.job.v1 import job_result_pb2
from burnish.api.types.v1 import candidate_pb2, rollout_pb2
from burnish.errors import AlreadyExists, InvalidArgument, MissingExtra

if TYPE_CHECKING:
    import optuna

JOB_ATTRIBUTE = "burnish:job"
_KINDS = ("instruction", "demo_set")


class StorageInvalid(InvalidArgument):
    """A URL that Optuna opens no storage by."""

    default_reason = "STORAGE_INVALID"


class StudyTaken(AlreadyExists):
    """A study of the same name that is not an export of the same job."""

    default_reason = "STUDY_TAKEN"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportedStudy:
    """What was written.

    Attributes:
        storage: URL of the storage.
        study_name: Name of the Optuna study.
        trial_count: Trials in it, the baseline's evaluation among them.
        failed_count: How many of them have no value, because nothing was measured.
    """

    storage: str
    study_name: str
    trial_count: int
    failed_count: int


def export_study(
    result: job_result_pb2.JobResult, *, job: str, storage: str, study_name: str | None = None
) -> ExportedStudy:
    """Writes the trials that are over; an earlier export of the same job is replaced.

    Args:
        result: What the job found, or knows so far.
        job: Resource name of the job.
        storage: Storage URL as Optuna takes it, such as `sqlite:///study.db`.
        study_name: Name of the Optuna study; None takes the job's id.

    Raises:
        MissingExtra: Optuna is not installed.
        StorageInvalid: Optuna cannot open the storage.
        StudyTaken: A study of this name is there and is not of this job.
    """
    optuna = _import_optuna()
    name = study_name or job.removeprefix("jobs/")
    trials = list(_Trials(optuna, result))
    opened = _opened(optuna, storage)
    if name in {one.study_name for one in optuna.get_all_study_summaries(opened)}:
        found = optuna.load_study(study_name=name, storage=opened)
        if found.user_attrs.get(JOB_ATTRIBUTE) != job:
            raise StudyTaken(
                f"study `{name}` is in the storage and is no export of {job}; give another name",
                metadata={"study": name},
            )
        optuna.delete_study(study_name=name, storage=opened)
    study = optuna.create_study(study_name=name, storage=opened, direction="maximize")
    study.set_user_attr(JOB_ATTRIBUTE, job)
    for component in result.components:
        study.set_user_attr(component.component_id, _described(component))
    study.add_trials(trials)
    return ExportedStudy(
        storage=storage,
        study_name=name,
        trial_count=len(trials),
        failed_count=sum(one.state == optuna.trial.TrialState.FAIL for one in trials),
    )


class _Trials:
    """The trials of a result as Optuna has them, the baseline's evaluation first."""

    def __init__(self, optuna: ModuleType, result: job_result_pb2.JobResult) -> None:
        self._optuna = optuna
        self._result = result
        self._candidates = {
            one.candidate.candidate_id: _choices(one.candidate) for one in result.candidates
        }
        self._distributions = {
            name: optuna.distributions.CategoricalDistribution(options)
            for name, options in self._options().items()
        }

    def __iter__(self) -> Iterator[optuna.trial.FrozenTrial]:
        baseline = self._result.baseline
        measured = next(
            (getattr(baseline, f) for f in ("validation", "search") if baseline.HasField(f)), None
        )
        if measured is not None:
            yield self._trial(
                baseline.candidate.candidate_id, measured, {"burnish:kind": "baseline"}
            )
        for trial in self._result.history:
            attributes = {
                "burnish:kind": trial.kind,
                "burnish:trial_index": trial.trial_index,
                "burnish:iteration": trial.iteration,
            }
            reward = trial.reward if trial.HasField("reward") else None
            yield self._trial(trial.candidate_id, reward, attributes)

    def _trial(
        self,
        candidate_id: str,
        reward: rollout_pb2.Estimate | None,
        attributes: Mapping[str, object],
    ) -> optuna.trial.FrozenTrial:
        states = self._optuna.trial.TrialState
        kept = {**attributes, "burnish:candidate_id": candidate_id}
        if reward is not None:
            kept |= {
                "burnish:row_count": reward.row_count,
                "burnish:lower": reward.lower,
                "burnish:upper": reward.upper,
            }
        made: optuna.trial.FrozenTrial = self._optuna.trial.create_trial(
            state=states.FAIL if reward is None else states.COMPLETE,
            value=None if reward is None else reward.mean,
            params=self._candidates[candidate_id],
            distributions=self._distributions,
            user_attrs=kept,
        )
        return made

    def _options(self) -> dict[str, list[str]]:
        """Returns the values of every parameter, in the order they came into the search."""
        found: dict[str, dict[str, None]] = {}
        for choices in self._candidates.values():
            for name in choices:
                found.setdefault(name, {})
        for component in self._result.components:
            kind = component.WhichOneof("content") or ""
            options = found.get(f"{component.stage_id}/{kind}")
            if options is not None:
                options[component.component_id] = None
        for choices in self._candidates.values():
            for name, choice in choices.items():
                found[name][choice] = None
        return {name: list(options) for name, options in found.items()}


def _choices(candidate: candidate_pb2.Candidate) -> dict[str, str]:
    return {
        f"{stage}/{kind}": choice
        for stage, chosen in sorted(candidate.stages.items())
        for kind, choice in zip(_KINDS, (chosen.instruction_id, chosen.demo_set_id), strict=True)
    }


def _described(component: candidate_pb2.Component) -> dict[str, object]:
    described: dict[str, object] = {"stage": component.stage_id}
    if component.WhichOneof("content") == "instruction":
        described["text"] = component.instruction.text
    else:
        described["demo_count"] = len(component.demo_set.demos)
    return described


def _opened(optuna: ModuleType, url: str) -> Any:  # noqa: ANN401 - Optuna's own type
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    if "://" not in url:
        raise StorageInvalid(
            f"storage `{url}` is no URL; give one such as `sqlite:///study.db`",
            metadata={"storage": url},
        )
    try:
        return optuna.storages.get_storage(url)
    except Exception as error:  # a boundary: what it raises depends on the database's driver
        kind = type(error).__name__
        # The URL may hold a password, and the driver's message may repeat it.
        raise StorageInvalid(
            f"Optuna cannot open the storage ({kind}); check its URL, its driver and that it is up"
        ) from error


def _import_optuna() -> ModuleType:
    try:
        import optuna
    except ImportError as error:
        raise MissingExtra(package="optuna", extra="search") from error
    return optuna
