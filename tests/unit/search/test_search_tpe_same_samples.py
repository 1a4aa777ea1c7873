"""The draws over arrays are those of Optuna's own sampler, bit for bit, for the same seed."""

import itertools
import random

import optuna
import pytest
from optuna.distributions import BaseDistribution

from burnish_search.algorithms.parzen import ParzenHistory
from burnish_search.algorithms.tpe import TpeMirror
from burnish_search.history import History
from burnish_search.model import (
    Cell,
    Component,
    Kind,
    Observation,
    Pool,
    StudySpec,
    Trial,
    TrialKind,
    Work,
)

STATES = optuna.trial.TrialState


class Plain:
    """An Optuna study in memory that is asked through the public sampler."""

    def __init__(self, sizes):
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self.study = optuna.create_study(direction="maximize")
        self.study.ask()  # The trial that draws are made for.
        self.space: dict[str, BaseDistribution] = {
            f"p{place}": optuna.distributions.CategoricalDistribution(range(size))
            for place, size in enumerate(sizes)
        }

    def append(self, choices, value=None, state=STATES.RUNNING):
        params = {f"p{place}": choice for place, choice in enumerate(choices)}
        self.study.add_trial(
            optuna.trial.create_trial(
                state=state, params=params, distributions=self.space, value=value
            )
        )
        return len(self.study.get_trials(deepcopy=False)) - 1

    def finish(self, number, value):
        if value is None:
            self.study.tell(number, state=STATES.FAIL)
        else:
            self.study.tell(number, value)

    def draws(self, seed, pending, count):
        held = [self.append(choices) for choices in pending]
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=1, seed=seed, multivariate=True, constant_liar=True
        )
        probe = self.study.get_trials(deepcopy=False)[0]
        drawn = [sampler.sample_relative(self.study, probe, self.space) for _ in range(count)]
        for number in held:
            self.finish(number, None)
        return [tuple(one[name] for name in self.space) for one in drawn if one]


def grown(sizes, count, *, seed, levels):
    """Yields both histories after every so many trials, with a few running and some failed."""
    dice = random.Random(seed)
    plain, ours = Plain(sizes), ParzenHistory(sizes, n_candidates=24)
    running = []
    for number in range(count):
        # Some choices are frequent, as they are in a search.
        choices = tuple(min(dice.randrange(size), dice.randrange(size)) for size in sizes)
        running.append((plain.append(choices), ours.append(choices)))
        while len(running) > dice.randrange(1, 6):
            theirs, mine = running.pop(dice.randrange(len(running)))
            value = None if dice.random() < 0.1 else dice.randrange(levels) / (levels - 1)
            plain.finish(theirs, value)
            ours.finish(mine, value)
        if number % 7 == 0 or number == count - 1:
            held = [
                tuple(dice.randrange(size) for size in sizes) for _ in range(dice.choice([0, 3]))
            ]
            yield plain, ours, dice.getrandbits(32), held


@pytest.mark.parametrize("levels", [2, 11, 100_001])
@pytest.mark.parametrize(
    "sizes", [(2,), (20, 20), (3, 7), (6, 12), (5,) * 8, (2, 3, 4, 5), (41, 300, 2)]
)
def test_every_draw_is_the_one_that_optuna_makes(sizes, levels):
    compared = 0
    for plain, ours, seed, held in grown(sizes, 140, seed=f"{sizes}{levels}", levels=levels):
        expected = plain.draws(seed, held, 2)
        assert list(itertools.islice(ours.draws(seed, held), len(expected) or 1)) == expected
        compared += len(expected)
    assert compared > 30


def test_draws_are_the_same_after_two_thousand_trials():
    dice = random.Random(5)
    plain, ours = Plain((20, 20)), ParzenHistory((20, 20), n_candidates=24)
    for _ in range(2000):
        choices, value = (dice.randrange(20), dice.randrange(20)), dice.randrange(36) / 35
        plain.append(choices, value, STATES.COMPLETE)
        ours.finish(ours.append(choices), value)
    for seed in range(20):
        held = [(seed, 19 - seed)] * (seed % 4)
        assert list(itertools.islice(ours.draws(seed, held), 2)) == plain.draws(seed, held, 2)


def test_nothing_is_drawn_without_a_value_or_without_a_choice():
    ours = ParzenHistory((3, 3), n_candidates=24)
    number = ours.append((0, 1))
    assert list(ours.draws(1, [])) == []
    ours.finish(number, None)
    assert list(ours.draws(1, [])) == []
    single = ParzenHistory((), n_candidates=24)
    single.finish(single.append(()), 1.0)
    assert list(single.draws(1, [])) == []


def evaluated(history, candidate, reward):
    """Records a trial of one row of a candidate; it stays open without a reward."""
    cell = Cell(candidate_id=candidate.candidate_id, pool=Pool.ONLINE, seed=len(history.trials))
    trial = Trial(
        trial_index=len(history.trials),
        candidate=candidate,
        kind=TrialKind.MINIBATCH,
        cells=(cell,),
        iteration=0,
    )
    work = Work(ask_index=len(history.works), plan=None, trials=(trial,), revision=0)
    history.suggest(work)
    if reward is not None:
        history.tell([Observation(cell=cell, reward=reward)])
        history.close(work)


def test_a_mirror_follows_a_space_that_grows_as_one_built_anew_does():
    dice = random.Random(11)
    history = History(StudySpec(name="studies/a", algorithm="mipro", stage_ids=("main",)))
    mirror = TpeMirror(n_candidates=24)
    for step in range(6):
        history.add(
            Component(component_id=f"{kind.name}{step}{place}", stage_id="main", kind=kind)
            for kind in Kind
            for place in range(2)
        )
        for _ in range(12):
            candidate = history.space.candidate(
                [dice.choice(options) for options in history.space.options]
            )
            evaluated(history, candidate, None if dice.random() < 0.1 else dice.random())
            seed, pending = dice.getrandbits(32), [history.space.baseline()] * dice.randrange(3)
            drawn = mirror.draw(history, seed=seed, pending=pending, fits=lambda one: True)
            anew = TpeMirror(n_candidates=24)
            assert drawn == anew.draw(history, seed=seed, pending=pending, fits=lambda one: True)
            assert drawn == _by_optuna(history, seed, pending)


def _by_optuna(history, seed, pending):
    plain = Plain([len(options) for options in history.space.options])

    def choices(candidate):
        return tuple(
            options.index(choice)
            for options, choice in zip(history.space.options, candidate.choices, strict=True)
        )

    for trial in history.trials:
        number = plain.append(choices(trial.candidate))
        if trial.mean_reward is not None:
            plain.finish(number, trial.mean_reward)
    seen = {trial.candidate.candidate_id for trial in history.trials}
    seen |= {candidate.candidate_id for candidate in pending}
    drawn = [
        history.space.candidate(
            [options[place] for options, place in zip(history.space.options, one, strict=True)]
        )
        for one in plain.draws(seed, [choices(candidate) for candidate in pending], 2)
    ]
    unseen = [candidate for candidate in drawn if candidate.candidate_id not in seen]
    return next(iter([*unseen, *drawn]), None)
