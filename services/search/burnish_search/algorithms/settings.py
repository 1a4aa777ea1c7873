"""Settings of the algorithms that search by minibatches, read and checked all at once."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from burnish_search.model import Pool

_MOST = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A preset of MIPROv2.

    Attributes:
        option_count: Options that the number of trials is computed for.
        validation_size: Rows of a full evaluation.
    """

    option_count: int
    validation_size: int


PRESETS: Mapping[str, Preset] = {
    "light": Preset(option_count=6, validation_size=100),
    "medium": Preset(option_count=12, validation_size=300),
    "heavy": Preset(option_count=18, validation_size=1000),
}
PRESET_BATCH_SIZE = 35


@dataclass(frozen=True, slots=True, kw_only=True)
class TpeSettings:
    """Settings of the TPE sampler.

    Attributes:
        n_candidates: Draws that the best is taken from.
        n_startup_trials: Trials that only cover the space evenly, before the sampler is asked.
        epsilon: Share of later trials that are drawn uniformly, in [0, 1].
    """

    n_candidates: int = 24
    n_startup_trials: int = 10
    epsilon: float = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchSettings:
    """How a search by minibatches goes.

    Attributes:
        auto: Preset of MIPROv2 that fixes the number of trials; None when it is given.
        num_iterations: Iterations.
        num_evaluations_per_iteration: Minibatch trials of an iteration.
        num_trials: Minibatch trials in all; None is the product of the two above.
        batch_size: Rows of a minibatch.
        full_eval_every_k: Minibatch trials between full evaluations of the incumbent.
        top_k: Candidates re-scored at the end.
        top_k_size: Rows that they are re-scored on; None is the whole validation pool.
        max_parallel_trials: Trials per ask.
        generate_at_iterations: Iterations at which new instructions are asked for; 0 is done before
            the search begins.
        instructions_per_batch: Instructions per stage to ask for.
        minibatch_pool: Pool that minibatches are drawn from.
        max_trials: Most trials of every kind; None is no limit.
        max_trials_without_improvement: Minibatch trials after which a search whose incumbent stays
            the same ends; None is never.
        target_reward: Validation mean at which the search ends; None is never.
        tpe: Settings of the sampler.
        warnings: Settings that are known, but have no effect, and why.
    """

    auto: str | None = None
    num_iterations: int = 20
    num_evaluations_per_iteration: int = 5
    num_trials: int | None = None
    batch_size: int = 32
    full_eval_every_k: int = 5
    top_k: int = 2
    top_k_size: int | None = None
    max_parallel_trials: int = 1
    generate_at_iterations: tuple[int, ...] = (0,)
    instructions_per_batch: int = 10
    minibatch_pool: Pool = Pool.ONLINE
    max_trials: int | None = None
    max_trials_without_improvement: int | None = None
    target_reward: float | None = None
    tpe: TpeSettings = field(default_factory=TpeSettings)
    warnings: tuple[str, ...] = ()

    def trial_count(self, searched_slot_count: int) -> int:
        """Returns how many minibatch trials are planned, given the slots with a choice."""
        if self.auto is not None:
            options = PRESETS[self.auto].option_count
            return int(max(2 * searched_slot_count * math.log2(options), 1.5 * options))
        if self.num_trials is not None:
            return self.num_trials
        return self.num_iterations * self.num_evaluations_per_iteration

    @property
    def validation_size(self) -> int | None:
        """Most rows of a full evaluation; None is the whole pool."""
        return None if self.auto is None else PRESETS[self.auto].validation_size


_IGNORED_TPE = {
    "gamma": "Optuna 5 deprecates the argument; its own split of good and bad trials is used",
    "prior_weight": "Optuna 5 deprecates the argument; its prior weight of 1 is used",
    "alpha": "Optuna's categorical smoothing is its prior weight",
    "categorical_alpha": "Optuna's categorical smoothing is its prior weight",
}
_POOLS = {"online": Pool.ONLINE, "validation": Pool.VALIDATION}


def parse(settings: Mapping[str, object]) -> tuple[SearchSettings, list[str]]:
    """Reads settings as JSON values.

    Returns:
        The settings, with the default wherever a value cannot be used, and every problem found.
    """
    reader = Reader(settings, path="")
    auto = reader.choice("auto", tuple(PRESETS))
    defaults = SearchSettings()
    pool = reader.choice("minibatch_source", tuple(_POOLS))
    if pool is None:
        pool = "online" if auto is None else "validation"
    tpe, warnings = _parse_tpe(reader.table("tpe"), reader.problems)
    parsed = SearchSettings(
        auto=auto,
        num_iterations=reader.whole("num_iterations", defaults.num_iterations),
        num_evaluations_per_iteration=reader.whole(
            "num_evaluations_per_iteration", defaults.num_evaluations_per_iteration
        ),
        num_trials=reader.optional_whole("num_trials"),
        batch_size=reader.whole(
            "batch_size", defaults.batch_size if auto is None else PRESET_BATCH_SIZE
        ),
        full_eval_every_k=reader.whole("full_eval_every_k", defaults.full_eval_every_k),
        top_k=reader.whole("top_k", defaults.top_k),
        top_k_size=reader.optional_whole("top_k_size"),
        max_parallel_trials=reader.whole("max_parallel_trials", defaults.max_parallel_trials),
        generate_at_iterations=reader.wholes(
            "generate_at_iterations", defaults.generate_at_iterations
        ),
        instructions_per_batch=reader.whole(
            "instructions_per_batch", defaults.instructions_per_batch
        ),
        minibatch_pool=_POOLS[pool],
        max_trials=reader.optional_whole("max_trials"),
        max_trials_without_improvement=reader.optional_whole("max_trials_without_improvement"),
        target_reward=reader.share("target_reward"),
        tpe=tpe,
        warnings=warnings,
    )
    if auto is not None and parsed.num_trials is not None:
        reader.problems.append(
            f"`auto` is `{auto}` and `num_trials` is {parsed.num_trials}: the preset fixes the "
            "number of trials; give one of the two"
        )
    reader.finish()
    return parsed, reader.problems


def _parse_tpe(
    table: Mapping[str, object], problems: list[str]
) -> tuple[TpeSettings, tuple[str, ...]]:
    reader = Reader(table, path="tpe.")
    defaults = TpeSettings()
    warnings = tuple(f"`tpe.{key}`: {why}" for key, why in _IGNORED_TPE.items() if reader.skip(key))
    epsilon = reader.share("epsilon")
    parsed = TpeSettings(
        n_candidates=reader.whole("n_candidates", defaults.n_candidates),
        n_startup_trials=reader.whole("n_startup_trials", defaults.n_startup_trials),
        epsilon=defaults.epsilon if epsilon is None else epsilon,
    )
    reader.finish()
    problems += reader.problems
    return parsed, warnings


class Reader:
    """Reads one table of settings; what is wrong is collected, not raised.

    Attributes:
        problems: What was wrong so far, each with the place, the value and the remedy.
    """

    def __init__(self, values: Mapping[str, object], *, path: str) -> None:
        self.problems: list[str] = []
        self._values = values
        self._path = path
        self._known: list[str] = []

    def skip(self, key: str) -> bool:
        """Accepts a key whatever its value. Returns whether it is there."""
        self._known.append(key)
        return key in self._values

    def whole(self, key: str, default: int) -> int:
        """Reads a whole number of at least 1."""
        value = self.optional_whole(key)
        return default if value is None else value

    def optional_whole(self, key: str) -> int | None:
        """Reads a whole number of at least 1; None when absent."""
        value = self._get(key)
        if value is None:
            return None
        number = _whole(value)
        if number is None or not 1 <= number <= _MOST:
            self._reject(key, value, f"a whole number in [1, {_MOST}]")
            return None
        return number

    def natural(self, key: str) -> int | None:
        """Reads a whole number of at least 0; None when absent."""
        value = self._get(key)
        if value is None:
            return None
        number = _whole(value)
        if number is None or not 0 <= number <= _MOST:
            self._reject(key, value, f"a whole number in [0, {_MOST}]")
            return None
        return number

    def number(self, key: str, *, least: float = 0.0) -> float | None:
        """Reads a number of at least `least`; None when absent."""
        value = self._get(key)
        if value is None:
            return None
        plain = None if isinstance(value, bool) else value
        number = float(plain) if isinstance(plain, int | float) else math.nan
        if math.isfinite(number) and number >= least:
            return number
        self._reject(key, value, f"a number of at least {least:g}")
        return None

    def wholes(self, key: str, default: tuple[int, ...]) -> tuple[int, ...]:
        """Reads a list of whole numbers of at least 0."""
        value = self._get(key)
        if value is None:
            return default
        items = value if isinstance(value, Sequence) and not isinstance(value, str) else (None,)
        numbers = tuple(number for item in items if (number := _whole(item)) is not None)
        if len(numbers) != len(items) or any(number < 0 for number in numbers):
            self._reject(key, value, "a list of whole numbers of at least 0")
            return default
        return numbers

    def share(self, key: str) -> float | None:
        """Reads a number in [0, 1]; None when absent."""
        value = self._get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            self._reject(key, value, "a number in [0, 1]")
            return None
        return float(value)

    def amount(self, key: str) -> float | None:
        """Reads a number of at least 0; None when absent."""
        value = self._get(key)
        if value is None:
            return None
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not 0 <= value < math.inf
        ):
            self._reject(key, value, "a number of at least 0")
            return None
        return float(value)

    def choice(self, key: str, choices: Sequence[str]) -> str | None:
        """Reads one of some names; None when absent."""
        value = self._get(key)
        if value is None:
            return None
        if not isinstance(value, str) or value not in choices:
            self._reject(key, value, "one of " + ", ".join(f"`{choice}`" for choice in choices))
            return None
        return value

    def table(self, key: str) -> Mapping[str, object]:
        """Reads a table; an empty one when absent."""
        value = self._get(key)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            self._reject(key, value, "a table")
            return {}
        return value

    def finish(self) -> None:
        """Notes every key that nothing has read."""
        for key in sorted(set(self._values) - set(self._known)):
            near = difflib.get_close_matches(key, self._known, n=1)
            hint = f"; did you mean `{self._path}{near[0]}`?" if near else "; remove it"
            self.problems.append(f"setting `{self._path}{key}` is unknown{hint}")

    def _get(self, key: str) -> object:
        self._known.append(key)
        return self._values.get(key)

    def _reject(self, key: str, value: object, wanted: str) -> None:
        self.problems.append(f"setting `{self._path}{key}` is {value!r}; give {wanted}")


def _whole(value: object) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return int(value) if math.isfinite(value) and value == int(value) else None
