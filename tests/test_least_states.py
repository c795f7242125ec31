"""How many states can be reached at least, without listing them."""

import numpy as np
import pytest

import cme
from cme import memory
from cme.least_states import least_states
from cme.ledger import Ledger


def test_no_more_than_can_be_reached():
    """Against the states that are listed, for random networks of mass action; for many of them it is their number."""
    rng, exact = np.random.default_rng(8), 0
    for _ in range(200):
        sides = [" + ".join(f"{n} {name}" for name, n in zip("ABC", counts, strict=True) if n) or "0" for counts in _random_sides(rng)]
        reactions = [f"{a} -> {b} @ 1" for a, b in zip(sides[::2], sides[1::2], strict=True) if a != b]
        start, upper = rng.integers(0, 8, 3), rng.integers(8, 15, 3)
        network = cme.parse("; ".join(["species A, B, C", *reactions, *(f"{name} = {n}" for name, n in zip("ABC", start, strict=True))]))
        listed = len(cme.StateSpace.reachable(network, bounds=dict(zip("ABC", map(int, upper), strict=True))))
        found = least_states(network, start, upper)
        assert 1 <= found <= listed
        exact += found == listed
    assert exact > 60


def _random_sides(rng):
    return rng.integers(0, 3, (2 * int(rng.integers(1, 5)), 3)) * (rng.random(3) < 0.5)


def test_what_would_not_fit_is_refused_before_it_is_listed(monkeypatch):
    monkeypatch.setattr(Ledger, "explore", None)  # which lists them
    network = cme.parse(f"A <-> B @ 1, 1; B <-> C @ 1, 1; A = {2**40}")
    with pytest.raises(cme.ConvergenceError, match="more than max_states=10000000000 states can be reached"):
        cme.StateSpace.reachable(network, max_states=10**10)
    monkeypatch.setattr(memory, "available", lambda: 10**9)
    with pytest.raises(
        cme.ConvergenceError, match=r"at least 4.9.e[+]09 states of 3 species, which can be reached, need about .* GB of memory"
    ):
        cme.StateSpace.reachable(cme.parse("A <-> B @ 1, 1; B <-> C @ 1, 1; A = 100000"), max_states=10**10)


def test_a_negative_propensity_is_told_first():
    with pytest.raises(cme.ModelError, match="is negative in state"):
        cme.StateSpace.reachable(cme.parse("0 -> X @ 1; 0 => Y @ -1"), max_states=10**10)
