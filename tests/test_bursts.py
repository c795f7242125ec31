"""Bursts of geometric size that are passed on along lines, against the generator with all its entries and the exact law."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest

import cme
from cme.generator import Generator
from cme.projection.bursts import with_bursts, with_walkers
from cme.projection.closed_law import ClosedLaw
from cme.projection.polynomials import ROUNDING
from cme.projection.propagate import propagate
from cme.states import StateSpace

LARGE = "0 -> geometric(100) P @ 2; P -> 0 @ 1; P = 0"
MANY = """
    0 -> M @ 2;  M -> 0 @ 1;  M -> M + (3*geometric(20)) P @ 2;  P -> 0 @ 1
    A + P -> (2*geometric(7)) A + geometric(1) P @ 1;  A -> geometric(9) A @ 0.1;  M = 0;  P = 0;  A = 3
"""


def spaces(text):
    """All states near the start, and a part of them: lines with gaps, and bursts that begin where no state is kept."""
    network = cme.parse(text)
    space = StateSpace.around(network, size=700)
    yield network, space
    yield network, space.keep(np.random.default_rng(1).random(len(space)) < 0.6)


@pytest.mark.parametrize("text", [LARGE, MANY])
def test_columns_and_leak_are_those_of_all_entries(text):
    for network, space in spaces(text):
        whole, short = Generator.from_network(network, space), with_bursts(network, space)
        columns = np.array([short.matrix @ one for one in np.eye(len(space))]).T
        entries = whole.sparse().toarray()
        assert abs(columns - entries).max() < 1e-14 * abs(entries).max()
        assert np.allclose(short.leak, whole.leak, rtol=1e-12, atol=1e-15 * abs(entries).max())
        assert abs(columns.sum(axis=0) + short.leak).max() < 1e-14 * abs(entries).max() * len(space)
        assert np.all(short.exit_rates >= whole.exit_rates * (1 - 1e-14))  # a burst of nothing counts as one


@pytest.mark.parametrize("text", [LARGE, MANY])
def test_factors_solve(text):
    for network, space in spaces(text):
        right = np.random.default_rng(2).random(len(space))
        found = with_bursts(network, space).matrix.factorised(0.37)(right)
        wanted = np.linalg.solve(np.eye(len(space)) - 0.37 * Generator.from_network(network, space).sparse().toarray(), right)
        assert abs(found - wanted).max() < 1e-12 * wanted.max()


@pytest.mark.parametrize("method", ["uniformisation", "chebyshev", "rational_krylov"])
def test_integrators_agree_with_all_entries(method):
    network = cme.parse(LARGE)
    space = StateSpace.around(network, size=300)
    whole, short = Generator.from_network(network, space), with_bursts(network, space)
    start = np.eye(len(space))[0]
    one = propagate(whole, start, [0.5, 2.0], tol=1e-10)
    other = propagate(short, start, [0.5, 2.0], tol=1e-10, method=method)
    off = abs(one.p - other.p).sum(axis=1)
    assert np.all(off <= one.integration_error + other.integration_error)
    assert abs(one.lost - other.lost).max() < 1e-9


def test_what_walks_along_a_line_is_rounded_at_each_state():
    """The part that goes on is rounded once and counts at each state: one whose rounding is bad, against fractions."""
    off = {b: abs(Fraction(b / (1.0 + b)) / Fraction(b, b + 1) - 1) for b in range(1000, 1100)}
    mean = max(off, key=off.__getitem__)
    network = cme.parse(f"0 -> geometric({mean}) P @ 1; P = 0")
    space = StateSpace.reachable(network, bounds={"P": 8 * mean})
    generator = with_bursts(network, space)
    column = np.zeros(8 * mean + 1)
    column[space.states[:, 0]] = generator.matrix @ (space.states[:, 0] == 0).astype(float)
    with mpmath.workdps(40):
        part = mpmath.mpf(mean) / (mean + 1)
        error = sum(abs(mpmath.mpf(float(p)) - part**k / (mean + 1)) for k, p in enumerate(column) if k > 0)
    assert 3 * ROUNDING < error <= ROUNDING * (1 + generator.matrix.roughness)


def test_krylov_takes_all_entries():
    network = cme.parse(LARGE)
    short = with_bursts(network, StateSpace.around(network, size=300))
    with pytest.raises(ValueError, match='method="krylov" needs the entries'):
        propagate(short, np.eye(len(short))[0], [1.0], method="krylov")
    law = cme.fsp(cme.parse(LARGE.replace("100", "5")), [0.1], tol=1e-4, method="krylov")
    assert law.lost[-1] + law.integration_error[-1] <= 1e-4


def test_law_of_large_bursts():  # A.4: G(z, t) = ((1 + b (1 - z) exp(-t)) / (1 + b (1 - z)))^a
    times, size = np.array([0.3, 2.0]), 2**14
    law = cme.fsp(cme.parse(LARGE), times, tol=1e-5)
    circle = np.exp(2j * np.pi * np.arange(size) / size)
    for t, p, bound in zip(times, law.p, law.lost + law.integration_error, strict=True):
        exact = np.fft.fft(((1 + 100 * (1 - circle) * np.exp(-t)) / (1 + 100 * (1 - circle))) ** 2).real / size
        exact[law.states[:, 0]] -= p
        assert abs(exact).sum() <= bound + 1e-11
        assert bound <= 1e-5


def test_where_all_entries_cost_less():
    few = StateSpace.around(cme.parse(LARGE), size=100)
    assert with_bursts(few.compiled.network, few) is None
    for text in ("0 -> geometric(2) P @ 2", "0 -> poisson(50) P @ 2", "0 -> geometric(P + 9) P @ 2", "0 -> 3 P @ 2"):
        space = StateSpace.around(cme.parse(text + "; P -> 0 @ 1; P = 1"), size=300)
        assert with_bursts(space.compiled.network, space) is None


def test_a_rate_below_zero_is_told():
    with pytest.raises(cme.ModelError, match="negative"):
        cme.fsp(cme.parse("0 => geometric(100) P @ 300 - P; P -> 0 @ 1; P = 0"), [1.0], tol=1e-4)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("0 -> B @ 4; 0 -> geometric(0.97) B @ 0.763; A -> B @ 1.996; A -> 0 @ 1.102; B -> 0 @ 1; C -> 0 @ 1; A = 2; B = 2; C = 2", "B"),
        ("A -> B @ 1; B -> A @ 0.5; B -> 0 @ 1; B -> B + geometric(0.5) C @ 0.26; C -> 0 @ 2; A = 1; B = 2; C = 2", ""),
        ("0 -> geometric(0.49) B @ 0.599; B + C -> A @ 0.192; A -> 0 @ 1.772; B -> 0 @ 1.857; C -> 0 @ 1.876; A = 2; B = 0; C = 2", "B"),
    ],
)
def test_species_die_out_beside_bursts(text, kept):
    """From the first states no way out of the set is left, but many ways to states that do not lead back."""
    law = cme.stationary(cme.parse(text))
    for s, name in enumerate(law.species):
        assert kept == name or not law.states[:, s].any()
    if kept:
        alone = cme.stationary(cme.parse("; ".join(r for r in text.split("; ") if not set("AC") & set(r))))
        one, other = (np.bincount(each.states[:, each.species.index("B")], each.p[-1], 2000)[:2000] for each in (law, alone))
        assert abs(one - other).sum() < 1e-6
    else:
        assert law.p[-1].tolist() == [1.0]


def test_a_law_that_never_settles_is_told_early():
    births = "A + B -> 2 B @ 0.6; B -> B + geometric(1.24) A @ 0.73; A -> B @ 1.05; 0 -> A @ 1; A -> 0 @ 1.41; B -> 0 @ 0.787; A = 0; B = 2"
    with pytest.raises(
        cme.ConvergenceError, match=r"settles so slowly that more than 1e\+07 would be needed; loosen tol; if the counts grow"
    ):
        cme.stationary(cme.parse(births))


# ------------------------------------------------------------------------------------------------------ stationary laws


@pytest.mark.parametrize("text", [LARGE, MANY])
def test_a_chain_with_walkers_has_the_same_law(text):
    """Watched in the states that are kept, it is the chain with all entries, closed by dropping the jumps that leave."""
    for network, space in spaces(text):
        walking, whole = with_walkers(network, space), Generator.from_network(network, space)
        assert abs(walking.matrix.sum(axis=0) + walking.leak).max() < 1e-9 * walking.largest_rate
        assert walking.matrix.nnz < 10 * len(walking)
        n, entries = len(space), walking.matrix.toarray()
        passed = np.linalg.solve(-entries[n:, n:], entries[n:, :n])
        back = entries[:n, :n] + entries[:n, n:] @ passed
        wanted = whole.sparse().toarray()
        off = ~np.eye(n, dtype=bool)  # a burst of nothing goes out and comes in
        assert abs(back - wanted)[off].max() < 1e-13 * abs(wanted).max()
        assert np.allclose(walking.leak[:n], whole.leak, rtol=1e-12, atol=1e-15 * abs(wanted).max())


@pytest.mark.parametrize("text", [LARGE, "0 -> M @ 2; M -> 0 @ 1; M -> M + (3*geometric(20)) P @ 2; P -> 0 @ 1"])
def test_the_law_of_a_chain_with_walkers(text):
    network = cme.parse(text)
    space = StateSpace.reachable(network, bounds={"P": 300, "M": 4} if "M" in text else {"P": 300})
    space = space.keep(~np.all(space.states == 2, axis=1)) if "M" in text else space  # a hole in a line
    whole, walking = Generator.from_network(network, space), with_walkers(network, space)
    one, other = ClosedLaw.on(whole, reflecting=True), ClosedLaw.on(walking, reflecting=True).on_first(len(space))
    assert np.array_equal(one.members, np.arange(len(space)))
    assert np.array_equal(one.members, other.members)
    assert abs(one.pi - other.pi).sum() < 1e-9
    assert other.outflow == pytest.approx(one.outflow, rel=1e-9)
    home = int(np.argmax(one.pi))
    solve, again = np.delete(np.delete(whole.sparse().toarray(), home, 0), home, 1), ClosedLaw.on(walking).on_first(len(space))
    assert again.cycle.reference == home
    times = np.linalg.solve(-solve.T, np.ones(len(space) - 1))
    assert again.longest == pytest.approx(times.max(), rel=1e-3)  # walking takes next to no time


@pytest.mark.parametrize("mean", [30, 300])
def test_a_geometric_law(mean):
    """Bursts of geometric size at the rate at which molecules go: the law is geometric too (A.23 with one burst in a lifetime)."""
    law = cme.stationary(cme.parse(f"0 -> geometric({mean}) X @ 1; X -> 0 @ 1"), tol=1e-6)
    n = law.states[:, 0]
    error = np.abs(law.p[0] - (mean / (1 + mean)) ** n / (1 + mean)).sum() + (mean / (1 + mean)) ** (n.max() + 1.0)
    assert len(n) == n.max() + 1
    assert error <= law.error_bound[0] <= 1e-6
    assert law.info["method"] == "GTH elimination"
    assert law.info["certificate"] == "estimate: reactions draw numbers of molecules"


def test_a_bursty_gene():
    """The law settles slowly at first and then ever faster. All is linear: <P> = 20, and its variance 320, by the moment equations."""
    law = cme.stationary(cme.parse("0 -> M @ 2; M -> 0 @ 1; M -> M + geometric(10) P @ 1; P -> 0 @ 1"), tol=1e-4)
    m, p = law.states.T
    assert law.p[0] @ m == pytest.approx(2.0, abs=1e-3)
    assert law.p[0] @ p == pytest.approx(20.0, abs=1e-2)
    assert law.p[0] @ (p - 20.0) ** 2 == pytest.approx(320.0, rel=1e-2)
    assert law.error_bound[0] <= 1e-4
