"""The errors of the search service, each with its own reason."""

from __future__ import annotations

from collections.abc import Sequence

from burnish.errors import FailedPrecondition, InvalidArgument, NotFound


class StudyInvalid(InvalidArgument):
    """A study, its settings or its pools cannot be used.

    Attributes:
        problems: Every problem, each with the place, the value and the remedy.
    """

    default_reason = "STUDY_INVALID"

    def __init__(self, name: str, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(
            f"study `{name}`: " + "; ".join(problems),
            metadata={"study": name, "problem_count": str(len(problems))},
        )


class StudyStale(FailedPrecondition):
    """The cache is not at the controller's revision. Refill it by RestoreStudy, then ask again."""

    default_reason = "STUDY_STALE"

    def __init__(self, name: str, *, revision: int, wanted: int, why: str) -> None:
        super().__init__(
            f"study `{name}` is at revision {revision}, not {wanted}: {why}; refill it by "
            "RestoreStudy and repeat the call",
            metadata={"study": name, "revision": str(revision), "wanted_revision": str(wanted)},
        )


class AskOutOfOrder(FailedPrecondition):
    """An ask that skips an index, or that repeats one at another revision."""

    default_reason = "ASK_OUT_OF_ORDER"

    def __init__(self, name: str, *, ask_index: int, expected: int) -> None:
        super().__init__(
            f"study `{name}`: ask {ask_index} is out of order; the next one is {expected}",
            metadata={"study": name, "ask_index": str(ask_index), "expected": str(expected)},
        )


class SpaceIncomplete(FailedPrecondition):
    """A stage has no instruction or no demo set yet, so that there is no candidate."""

    default_reason = "SPACE_INCOMPLETE"

    def __init__(self, missing: Sequence[str]) -> None:
        listed = ", ".join(missing)
        super().__init__(
            f"no candidate can be built: {listed}; add the missing components first",
            metadata={"missing": listed},
        )


class ChangeInvalid(InvalidArgument):
    """A change that no study could take. Lists every problem."""

    default_reason = "CHANGE_INVALID"

    def __init__(self, name: str, problems: Sequence[str]) -> None:
        super().__init__(
            f"study `{name}`: " + "; ".join(problems),
            metadata={"study": name, "problem_count": str(len(problems))},
        )


class WorkUnknown(NotFound):
    """A work that was never suggested."""

    default_reason = "WORK_UNKNOWN"

    def __init__(self, name: str, ask_index: int) -> None:
        super().__init__(
            f"study `{name}` suggested no work for ask {ask_index}",
            metadata={"study": name, "ask_index": str(ask_index)},
        )


class StudyUnknown(NotFound):
    """A study that is not in the cache."""

    default_reason = "STUDY_UNKNOWN"

    def __init__(self, name: str) -> None:
        super().__init__(f"study `{name}` is not in the cache", metadata={"study": name})
