"""Whether the search finds what is there to be found, with a few hundred cells.

A made-up additive world, where the truth is known, and grids of real correctness rows, where the
truth is the mean on rows that the search never saw. The rows are used where they lie.
"""

from pathlib import Path

import numpy as np
import pytest

from burnish_search.algorithms.mipro import Mipro
from burnish_search.algorithms.random_search import RandomSearch
from burnish_search.model import TrialKind

pytestmark = pytest.mark.slow

MATRICES = Path(__file__).resolve().parents[4] / "shared" / "data" / "prompt-matrices"
SIZE = 6
ONLINE, VALIDATION = 100, 50
SETTINGS = {"batch_size": 10, "num_trials": 100}
SEEDS = range(20)


def made_up(seed):
    """Returns rewards by instruction, demo set and row, and what each pair is truly worth."""
    rng = np.random.default_rng(seed)
    worth = 0.55 + rng.normal(0, 0.06, SIZE)[:, None] + rng.normal(0, 0.05, SIZE)[None, :]
    worth += rng.normal(0, 0.03, (SIZE, SIZE))
    ease = rng.normal(0, 0.25, ONLINE + VALIDATION)
    chance = np.clip(worth[:, :, None] + ease - ease.mean(), 0, 1)
    return (rng.random(chance.shape) < chance).astype(float), worth


def real(name, seed):
    """Returns real rows placed so that instructions and demo sets have main effects."""
    path = MATRICES / f"{name}.npz"
    if not path.is_file():
        pytest.skip("the prompt matrices are not beside the repository")
    with np.load(path) as stored:
        complete = stored["Y"][stored["complete"]].astype(float)
    rng = np.random.default_rng(seed)
    wanted = rng.normal(0, 0.6, SIZE)[:, None] + rng.normal(0, 0.6, SIZE)[None, :]
    wanted = (wanted + rng.normal(0, 0.5, (SIZE, SIZE))).ravel()
    chosen = rng.choice(len(complete), SIZE * SIZE, replace=False)
    chosen = chosen[np.argsort(complete[chosen].mean(axis=1), kind="stable")]
    placed = np.empty(SIZE * SIZE, dtype=int)
    placed[np.argsort(wanted)] = chosen
    shuffled = complete[placed][:, rng.permutation(complete.shape[1])]
    rewards = shuffled.reshape(SIZE, SIZE, -1)
    return rewards, rewards[:, :, ONLINE + VALIDATION :].mean(axis=2)


def search(rig, algorithm, rewards, *, seed, cells):
    def reward(candidate, cell):
        return float(rewards[places(candidate)][cell.seed])

    return (
        rig(
            algorithm,
            settings=SETTINGS,
            reward=reward,
            seed=seed,
            online=range(ONLINE),
            validation=range(ONLINE, ONLINE + VALIDATION),
            max_cell_count=cells,
        )
        .start(instructions=SIZE, demo_sets=SIZE)
        .run()
    )


def places(candidate):
    return tuple(int(choice.rsplit("_", 1)[1]) for choice in candidate.choices)


def winner(found):
    return places(found.study.rank(found.study.revision, 1)[0].candidate)


def best_minibatch(found):
    """Returns what a search would pick that believes its best minibatch."""
    trials = [t for t in found.history.trials if t.kind is TrialKind.MINIBATCH]
    return places(max(trials, key=lambda trial: trial.mean_reward).candidate)


def outcomes(rig, algorithm, world, *, cells, pick=winner):
    """Returns gain over the baseline and regret against the best, by seed."""
    gains, regrets = [], []
    for seed in SEEDS:
        rewards, worth = world(seed)
        found = search(rig, algorithm, rewards, seed=seed, cells=cells)
        assert found.history.suggested_cell_count <= cells
        chosen = worth[pick(found)]
        gains.append(chosen - worth[0, 0])
        regrets.append(worth.max() - chosen)
    return np.array(gains), np.array(regrets)


@pytest.mark.parametrize(("cells", "gain"), [(100, 0.06), (250, 0.1)])
def test_a_made_up_world_is_searched_with_gain(rig, cells, gain):
    gains, _ = outcomes(rig, Mipro, made_up, cells=cells)
    assert gains.mean() > gain
    assert (gains > -0.03).mean() >= 0.85


def test_more_cells_mean_less_regret(rig):
    regrets = [outcomes(rig, Mipro, made_up, cells=cells)[1].mean() for cells in (40, 120, 400)]
    assert regrets == sorted(regrets, reverse=True)


def test_the_pooled_winner_is_better_than_the_best_minibatch(rig):
    _, pooled = outcomes(rig, Mipro, made_up, cells=200)
    _, naive = outcomes(rig, Mipro, made_up, cells=200, pick=best_minibatch)
    assert pooled.mean() < naive.mean() - 0.02


def test_the_sampler_is_worth_its_keep_in_a_made_up_world(rig):
    _, mipro = outcomes(rig, Mipro, made_up, cells=300)
    _, uniform = outcomes(rig, RandomSearch, made_up, cells=300)
    assert mipro.mean() < uniform.mean() - 0.01


@pytest.mark.parametrize("name", ["gsm8k_llama", "subj_qwen"])
def test_real_rows_are_searched_with_gain_and_not_by_the_best_minibatch(rig, name):
    def world(seed):
        return real(name, seed)

    gains, pooled = outcomes(rig, Mipro, world, cells=250)
    _, naive = outcomes(rig, Mipro, world, cells=250, pick=best_minibatch)
    assert gains.mean() > 0.03
    assert pooled.mean() < naive.mean() - 0.01


@pytest.mark.parametrize("name", ["copa_qwen", "sst-5_mistral"])
def test_where_there_is_nothing_to_gain_nothing_is_lost(rig, name):
    gains, _ = outcomes(rig, Mipro, lambda seed: real(name, seed), cells=250)
    assert gains.mean() > -0.01


def test_the_reported_mean_is_close_to_the_truth(rig):
    errors = []
    for seed in SEEDS:
        rewards, worth = made_up(seed)
        found = search(rig, Mipro, rewards, seed=seed, cells=250)
        first = found.study.rank(found.study.revision, 1)[0]
        errors.append(first.pooled.mean - worth[places(first.candidate)])
    assert abs(np.mean(errors)) < 0.03
