"""States and generators: how fast they are found, and products with them. CPU time: ``make bench``."""

import numpy as np
import pytest

import cme

TOGGLE = "0 => U @ 2 + 60*400/(400+V^2); U -> 0 @ 1; 0 => V @ 2 + 50*400/(400+U^2); V -> 0 @ 1"
DIMER = (
    "Off -> On @ .1; On -> Off @ .2; On -> On + M @ 10; M -> 0 @ .5; M -> M + P @ 2; P -> 0 @ .05; 2 P -> D @ .1; D -> 2 P @ .2; Off = 1"
)
SETS = {
    "toggle, a triangle": (TOGGLE, {"within": "U + V <= 1400"}),
    "gene and dimer, a box less a corner": (DIMER, {"bounds": {"M": 63, "P": 127, "D": 63}, "within": "P + D + M < 253"}),
}


@pytest.mark.parametrize("name", SETS)
def test_search(benchmark, name):
    """States, and the generator on them."""
    text, limits = SETS[name]
    network = cme.parse(text)

    def search():
        space = cme.StateSpace.reachable(network, max_states=2_000_000, **limits)
        return cme.Generator.from_network(network, space)

    generator = benchmark.pedantic(search, rounds=5, warmup_rounds=1)
    benchmark.group = "states and generator"
    benchmark.extra_info.update(states=len(generator), per_second=len(generator) / benchmark.stats.stats.min)
    assert abs(generator.matrix.sum(axis=0) + generator.leak).max() < 1e-9


@pytest.mark.parametrize("form", ["box", "scipy"])
def test_product(benchmark, form):
    """A product with the generator on a million states."""
    network = cme.parse(TOGGLE)
    generator = cme.Generator.from_network(network, cme.StateSpace.reachable(network, bounds={"U": 999, "V": 999}))
    matrix = generator.matrix if form == "box" else generator.sparse().tocsr()
    benchmark.group = "product, 1e6 states"
    p = np.random.default_rng(0).random(len(generator))
    benchmark.pedantic(matrix.__matmul__, (p,), rounds=20, warmup_rounds=2)


def test_fsp_on_a_given_box(benchmark):
    """1000 x 1000 birth-death, t = 1: 23.5 s with SLEPc."""
    network = cme.parse("0 -> X @ 500; X -> 0 @ 1; 0 -> Y @ 500; Y -> 0 @ 1; X = 400; Y = 400")
    space = cme.StateSpace.reachable(network, bounds={"X": 999, "Y": 999})
    law = benchmark.pedantic(cme.fsp, (network, [1.0]), {"tol": 1e-8, "space": space, "progress": False}, rounds=3, warmup_rounds=1)
    benchmark.group = "fsp on a given box"
    assert law.error_bound[-1] <= 1e-8


def test_stationary_level_by_level(benchmark):
    """Toggle, 1e6 states: 6.9 s with BoomerAMG-GMRES."""
    from cme.projection.levels import multilevel_law

    network = cme.parse(TOGGLE)
    generator = cme.Generator.from_network(network, cme.StateSpace.reachable(network, bounds={"U": 999, "V": 999}))
    benchmark.group = "stationary, 1e6 states"
    _, error = benchmark.pedantic(multilevel_law, (generator.sparse(), generator.states), rounds=1)
    benchmark.extra_info.update(error=error)
    assert error <= 1e-12
