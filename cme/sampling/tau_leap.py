"""`tau_leap`: approximate random paths that leap over many reactions at once."""

import time
from collections import Counter

import numpy as np

from cme import errors, ratelaw
from cme.abilities import require
from cme.arguments import Seed, check_choice, check_count, check_memory, check_positive, check_seed, check_threads, check_times, record
from cme.compiled import Compiled
from cme.errors import ModelError, describe_state
from cme.kernels import leap as engine
from cme.kernels.leap_length import AUTO, EXPLICIT, IMPLICIT, Leaper, Plan, new_leaper
from cme.network import Network
from cme.programs import csr
from cme.results import Trajectories
from cme.threads import run_chunks

METHODS = {"auto": AUTO, "explicit": EXPLICIT, "implicit": IMPLICIT}


def tau_leap(
    network: Network,
    times,
    *,
    n_paths: int = 1000,
    epsilon: float = 0.03,
    seed: Seed = None,
    initial=None,
    method: str = "auto",
    threads: int | None = None,
    progress: bool | None = None,
) -> Trajectories:
    r"""Sample approximate paths that leap over many reactions at once (tau-leaping).

    .. math:: x(t + \tau) = x(t) + \sum_r \nu_r K_r, \qquad K_r \sim \mathrm{Poisson}(a_r(x(t))\, \tau)

    with the propensities a_r and the net changes nu_r. A leap tau is as long as no propensity moves by more than a share `epsilon`; where
    that leaves few reactions to a leap, steps are exact.

    Parameters
    ----------
    network
        S species, R reactions, with constant rates. Reactions whose numbers of molecules are drawn are never leapt over.
    times : (T,)
        When the paths are sampled, in the model's time unit; they start at time 0. No leap goes past one of them.
    n_paths
        M, the number of paths.
    epsilon
        The error that is allowed in a leap, up to 0.2, see Notes. Cost grows as 1 / epsilon, or faster.
    seed
        As in `ssa`. Path i is a function of (seed, i) and the times alone, and independent of the path i of `ssa` with the same seed.
    initial
        As in `ssa`.
    method : "auto", "explicit" or "implicit"
        Which leaps are made. "auto" makes implicit ones where the network is stiff, see Notes.
    threads
        None means one for each processor.
    progress
        Show a progress bar: None means in a terminal or a notebook.

    Returns
    -------
    Trajectories
        counts (M, T, S) int64. ``coarse`` holds as many paths at twice `epsilon`; the difference shows what leaping costs. ``info`` counts
        leaps, implicit leaps, exact steps, and leaps that were rejected.

    Raises
    ------
    ModelError
        If the network has what tau_leap can't take (see `cme.abilities`), a propensity is negative or no finite number, an exact step would
        drive a count below zero, a count passes 2^52, or the network explodes in finite time.
    MemoryError
        If the counts do not fit this machine.

    Notes
    -----
    Length of a leap. It is the shortest of these, over the species that propensities depend on:

    - max(epsilon x / g, 1) over the drift, and its square over the variance per time (Cao, Gillespie and Petzold 2006). g is the largest
      sum_s x_s abs(da/dx_s) / a of a propensity a that depends on the species, and at least 1. For mass action it is the order, or
      2 + 1 / (x - 1) for 2 X. Derivatives are differences over one molecule more and one less, so that any law will do; where a law has
      no value there, steps are exact.
    - 2 epsilon / lambda, with a bound lambda of the spectral radius of the Jacobian J of the drift. Forward and backward rates that cancel
      make the drift small, and the rule above then allows leaps much longer than the time 1 / gamma in which a deviation relaxes: one
      leap of 5 / gamma reports the standard deviation 1047 for 316. In a linear network a leap tau multiplies the stationary variance by
      1 / (1 - gamma tau / 2), so that this rule holds it within 1 + epsilon or so. lambda is the largest row sum of abs(J) with each
      species in units of its count, over the species that depend on each other in both directions (other entries do not move the spectrum).

    A reaction that could fire fewer than ten times before a species is used up is critical, and so is one whose numbers of molecules are
    drawn: at most one of all these fires in a leap, and ends it. A leap to a negative count is rejected and tried again at half the length,
    so that no count is ever negative. Where a leap would hold fewer than ten reactions (50 R / (R + 25) if that is more: so many cost as
    much), a hundred exact steps (direct method) are made instead.

    Implicit leaps, K_r = Poisson(a_r(x) tau) + (a_r(x') - a_r(x)) tau with x' the state after the leap (Newton's method), stay stable
    where fast reactions have come to a balance. Pairs of mass-action reactions that undo each other do not limit them where the two
    propensities differ by less than 5 %, or by less than they fluctuate, sqrt(a gamma). "auto" takes an implicit leap where it is 100
    times as long as an explicit one (Cao, Gillespie and Petzold 2007). What relaxes within such a leap has its variance damped, by
    1 / (1 + gamma tau / 2). It comes back: each pair is leapt over only as long as log(1 / epsilon) of its relaxation times are left to
    the next sample, and is resolved after that, so that the laws at the sampling times are right. What is lost is how fast
    fluctuations bend the mean of a rate that is not linear in them. Fast species of few molecules make critical reactions, and then
    steps are exact. Firings are rounded up or down at random: to the nearest whole number, corrections by less than 1/2 would be lost.

    Error. Leaps are of weak order one: means and variances are off by a multiple of `epsilon` that grows with time where nothing relaxes
    (about epsilon for each radian of an oscillation). `compare` takes it from ``coarse``, as the error of the grid. The paths of ``coarse``
    use the same random streams: those that never leap are equal, the others as good as independent, so that the difference holds
    some Monte Carlo error, too. Take more paths to see less of it.

    Cost. Some 300 ns for a leap of 4 reactions, O(R) in all; an implicit leap solves S linear equations a few times. Good where many
    reactions fire before propensities change. Elsewhere `ssa` is faster, also for networks of hundreds of reactions unless a leap holds
    hundreds of events: the exact steps made here are O(R), too.

    References
    ----------
    Cao, Gillespie and Petzold, J. Chem. Phys. 124 (2006) 044109, doi:10.1063/1.2159468 (length of leaps, critical reactions).
    Cao, Gillespie and Petzold, J. Chem. Phys. 126 (2007) 224101, doi:10.1063/1.2745299 (explicit or implicit).
    Rathinam, Petzold, Cao and Gillespie, J. Chem. Phys. 119 (2003) 12784, doi:10.1063/1.1627296 (implicit leaps, damping).

    Examples
    --------
    >>> import cme
    >>> network = cme.parse("0 -> X @ 1e5; X -> 0 @ 1; X = 100000")
    >>> paths = cme.tau_leap(network, 5.0, n_paths=2000, seed=1)
    >>> bool(abs(paths.sd()[0, 0] / 1e5**0.5 - 1) < 0.1)
    True
    """
    started = time.perf_counter()
    times, n_paths = check_times(times), check_count("n_paths", n_paths)
    require(network, "tau_leap")
    epsilon = check_positive("epsilon", epsilon)
    if epsilon > 0.2:
        raise ValueError(f"epsilon must be at most 0.2, not {epsilon:g}; leaps at twice that, which measure the error, must be stable too")
    choice = METHODS[check_choice("method", method, tuple(METHODS))]
    threads = check_threads(threads)
    key, recorded_seed = check_seed(seed)
    compiled = Compiled(network)
    starts, cumulative = _starts(compiled, initial)
    model, plan = compiled.arrays, _plan(compiled, epsilon, choice)
    shape = (n_paths, len(times), starts.shape[1])
    check_memory(f"{n_paths} paths x {len(times)} times x {shape[2]} species, twice,", 2 * 8 * int(np.prod(shape)))

    def sample(plan: Plan, label: str) -> tuple[np.ndarray, dict[str, int]]:
        counts, tallies = np.zeros(shape, dtype=np.int64), []

        def run(first: int, stop: int, cancel: np.ndarray, done: np.ndarray) -> None:
            leaper = new_leaper(shape[2], len(network.reactions), plan, model.stack_size)
            tally = np.zeros(4, np.int64)
            chunk = counts[first:stop]
            status = engine.run_paths(model, plan, times, key, first, starts, cumulative, leaper, cancel, done, tally, chunk)
            if status not in (errors.OK, errors.CANCELLED):
                raise _complaint(network, status, leaper)
            tallies.append(tally)

        run_chunks(run, n_paths, threads=threads, label=label, unit="leaps", show=progress)
        names = ("leaps", "implicit_leaps", "exact_steps", "rejected_leaps")
        return counts, dict(zip(names, np.sum(tallies, axis=0).tolist(), strict=True))

    start = "the network's own" if initial is None else str(initial)
    options = {"n_paths": n_paths, "epsilon": epsilon, "method": method, "initial": start, "threads": threads}
    found = {"seed": recorded_seed, "initial_lost": max(0.0, 1.0 - float(cumulative[-1]))}

    def result(counts: np.ndarray, tally: dict[str, int], epsilon: float, coarse: Trajectories | None = None) -> Trajectories:
        info = record("tau_leap", network.name, started, {**options, "epsilon": epsilon}, **found, **tally)
        observables = {name: compiled.observable(name, counts) for name in network.observables}
        return Trajectories(times, network.species_names, counts, info, observables, coarse=coarse)

    fine = sample(plan, "tau_leap")
    coarse = sample(plan._replace(epsilon=2 * epsilon), "tau_leap, coarse")
    return result(*fine, epsilon, result(*coarse, 2 * epsilon))


def _starts(compiled: Compiled, initial) -> tuple[np.ndarray, np.ndarray]:
    """The initial states (K, S) and their cumulative probabilities (K,)."""
    states, p = compiled.start(initial)
    names = compiled.network.species_names
    if np.any(states != np.round(states)):
        raise ModelError("the initial distribution holds fractions of a molecule; tau_leap counts molecules")
    if states.max(initial=0) > engine.LARGEST_COUNT:
        raise ModelError(f"the start {describe_state(names, states[np.argmax(states.max(axis=1))])} is past 2^52; use rate_equations")
    return np.ascontiguousarray(states, dtype=np.int64), np.cumsum(p)


def _plan(compiled: Compiled, epsilon: float, method: int) -> Plan:
    """What the kernel needs to know of the network besides its arrays."""
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components

    network, model = compiled.network, compiled.arrays
    n_reactions, n_species = len(network.reactions), len(network.species)
    index = {name: i for i, name in enumerate(network.species_names)}
    reads = [sorted(index[name] for name in ratelaw.names(formula)) for formula in compiled.propensity_formulas]
    changes = np.split(model.change_species, model.change_pointer[1:-1]) if n_reactions else []
    pairs = [[(int(i), s) for i in changed for s in read] for changed, read in zip(changes, reads, strict=True)]
    arrows = np.array([pair for row in pairs for pair in row], dtype=np.int64).reshape(-1, 2)
    graph = csr_array((np.ones(len(arrows)), (arrows[:, 1], arrows[:, 0])), shape=(n_species, n_species))
    cycle = connected_components(graph, directed=True, connection="strong")[1] if n_species else np.zeros(0)
    entries = sorted({(i, s) for i, s in arrows.tolist() if cycle[i] == cycle[s]})
    number = {entry: e for e, entry in enumerate(entries)}
    read_pointer, read = csr([[(s,) for s in row] for row in reads], width=1)
    place_pointer, place = csr([[(number.get(pair, len(entries)),) for pair in row] for row in pairs], width=1)
    rows = np.array([i for i, _ in entries], dtype=np.int64)
    readers: list[list[tuple[int]]] = [[] for _ in range(n_species)]
    for r, row in enumerate(reads):
        for s in row:
            readers[s].append((r,))
    reader_pointer, reader = csr(readers, width=1)
    return Plan(
        read_pointer=read_pointer,
        read=read[:, 0].astype(np.uint32),
        place_pointer=place_pointer,
        place=place[:, 0].astype(np.uint32),
        row_pointer=np.searchsorted(rows, np.arange(n_species + 1)).astype(np.uint32),
        column=np.array([s for _, s in entries], dtype=np.uint32),
        reactant=np.unique(read[:, 0]).astype(np.uint32),
        reader_pointer=reader_pointer,
        reader=reader[:, 0].astype(np.uint32),
        partner=_partners(compiled),
        worth=max(10.0, 50.0 * n_reactions / (n_reactions + 25.0)),
        epsilon=epsilon,
        method=method,
    )


def _partners(compiled: Compiled) -> np.ndarray:
    """The reverse of each reaction, (R,), R if there is none: mass action both, each makes what the other takes."""
    network, model = compiled.network, compiled.arrays
    found = np.full(len(network.reactions), len(network.reactions), dtype=np.uint32)
    waiting: dict[tuple, int] = {}
    for r, reaction in enumerate(network.reactions):
        if r in network.varying:
            continue
        sides: tuple[Counter[str], Counter[str]] = Counter(), Counter()
        for side, molecules in zip(sides, (reaction.reactants, reaction.products), strict=True):
            for name, n in molecules:
                side[name] += int(n)  # type: ignore[arg-type]
        takes, makes = (tuple(sorted(side.items())) for side in sides)
        factors = model.factor_species[model.factor_pointer[r] : model.factor_pointer[r + 1]]
        read = Counter(network.species_names[s] for s in factors)
        if model.program_pointer[r] != model.program_pointer[r + 1] or tuple(sorted(read.items())) != takes:
            continue
        if (makes, takes) in waiting:
            other = waiting.pop((makes, takes))
            found[r], found[other] = other, r
        else:
            waiting[takes, makes] = r
    return found


def _complaint(network: Network, status: int, leaper: Leaper) -> Exception:
    r = int(leaper.cursor[engine.CULPRIT])
    reaction, formula = network.reactions[r].name, network.formula(r)
    if status == errors.OVERFLOW:
        where = describe_state(network.species_names, leaper.x)
        return ModelError(f"reaction {reaction!r} drives a count past 2^52 from state {where}; stop earlier, or use rate_equations")
    return errors.propensity_error(status, reaction, formula, network.species_names, leaper.x)
