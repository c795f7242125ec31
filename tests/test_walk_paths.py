"""Paths of random walks: their twin, their law, and what is said where a path can not go on."""

import numpy as np
import pytest
import twins
import verdict

import cme
from cme.arguments import check_seed
from cme.kernels import walk as engine
from cme.kernels.random import WALK

OU = lambda x: -x  # noqa: E731


def metric(table, method, name="total_variation"):
    return float(table[(table.method == method) & (table.metric == name)].value.iloc[0])


def test_paths_equal_their_twin_and_depend_on_seed_and_number_alone():
    def drift(x, t):
        return np.sin(x) - x + t

    walk = cme.RandomWalk(drift, 1.0, 0.1)
    times = np.array([0.3, 0.64, 1.5])  # blocks of steps end in between
    paths = walk.sample(times, n_paths=40, seed=5, start=0.2, threads=1)
    key, _ = check_seed(5)
    for m in (0, 3, 39):
        stream = twins.Stream(key, m, int(WALK))
        sites = twins.biased_walk(lambda site, n: (1 + drift(0.2 + 0.1 * site, n * walk.dt) * 0.1) / 2, 150, stream)
        assert paths.counts[m, :, 0] == pytest.approx([0.2 + 0.1 * sites[n] for n in (30, 64, 150)], abs=1e-12)
    again = walk.sample(times, n_paths=40, seed=5, start=0.2, threads=3)
    assert np.array_equal(paths.counts, again.counts)
    assert np.array_equal(walk.sample(times, n_paths=7, seed=5, start=0.2).counts, paths.counts[:7])
    assert not np.array_equal(walk.sample(times, n_paths=40, seed=6, start=0.2).counts, paths.counts)


@pytest.mark.parametrize("drift", [0.8, OU, lambda x, t: 1.5 * np.cos(4 * t)], ids=["constant", "position", "time"])
def test_paths_follow_the_law(drift):
    walk = cme.RandomWalk(drift, 1.0, 0.1)
    times = [0.01, 0.5, 1.0]
    law, paths = walk.law(times, start=0.3), walk.sample(times, n_paths=20_000, seed=2, start=0.3)
    for t in range(3):
        held = law.p[t] > 0
        lowest = law.states[held, 0].min()
        verdict.samples_match_pmf(np.round((paths.counts[:, t, 0] - lowest) / 0.2), law.p[t, held], lost=law.lost[t])
    assert metric(cme.compare(law, paths=paths), "paths") < 0.05
    assert paths.info["steps"] == 100
    assert paths.marginal("x", 1).p.sum() == pytest.approx(1)


def test_a_biased_coin_is_caught():
    """The verdict refuses a walk whose bias lacks its factor 1/2, p ds / 2 alpha."""
    law = cme.RandomWalk(0.8, 1.0, 0.1).law(1.0)
    paths = cme.RandomWalk(0.4, 1.0, 0.1).sample(1.0, n_paths=5000, seed=2)
    with pytest.raises(verdict.Refused):
        verdict.mean_matches(paths.counts[:, 0, 0], law.mean()[0, 0])


def test_statuses_are_those_of_the_errors():
    from cme import errors

    assert (engine.OK, engine.CANCELLED) == (errors.OK, errors.CANCELLED)
    taken = {value for value in vars(errors).values() if isinstance(value, int)}
    assert not {engine.NO_PROBABILITY, engine.UNDEFINED} & taken


def test_it_says_what_it_did():
    law = cme.RandomWalk(OU, 1.0, 0.2).law(1.0, start=0.7)
    assert law.info["solver"] == "random_walk"
    assert law.info["method"] == "transfer"
    assert law.info["steps"] == 25
    assert law.info["options"] == {"drift": "<lambda>", "alpha": 1.0, "ds": 0.2, "start": 0.7, "tol": 1e-12}
    assert repr(law) == "Distribution of x on 22 cells; t = 1; random_walk"
