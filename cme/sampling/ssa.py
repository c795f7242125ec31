"""`ssa`: exact random paths of the chemical master equation."""

import math
import time
from typing import TYPE_CHECKING, Union

import numpy as np

from cme.abilities import require
from cme.arguments import Seed, check_count, check_memory, check_seed, check_threads, check_times, record
from cme.network import Network
from cme.results import Trajectories
from cme.sampling.sampler import check_method, sampler_for
from cme.sampling.stopping import check_ends, stop_condition, watched
from cme.threads import Task, run_chunks

if TYPE_CHECKING:  # importing it takes longer than a small simulation
    from cme.generator import Generator
    from cme.generator_in_time import TimeDependentGenerator


def ssa(
    network: Union[Network, "Generator", "TimeDependentGenerator"],
    times,
    *,
    n_paths: int = 1000,
    seed: Seed = None,
    initial=None,
    method: str = "auto",
    every_event: bool = False,
    stop: str | None = None,
    threads: int | None = None,
    progress: bool | None = None,
) -> Trajectories:
    """Sample paths of the network exactly, with one of Gillespie's stochastic simulation algorithms.

    In state x the next event comes after an exponential time of rate a0(x) = sum_r a_r(x), and it is reaction r with probability
    a_r(x) / a0(x). The paths have exactly the law of the chemical master equation.

    Parameters
    ----------
    network
        The reaction network. Or a `Generator` of any jump process; `initial` is then needed, one state or probabilities (N,). With rates
        that depend on time (`TimeDependentGenerator`, up to 1500 states) paths go from one of the times to the next by the propagator.
    times : (T,)
        When the paths are sampled, in the model's time unit; they start at time 0. A path at time t includes an event at t.
    n_paths
        M, the number of paths.
    seed
        An integer, a SeedSequence, a Generator, or None for fresh entropy (recorded in `info`). Path i is a function of (seed, i)
        alone: the same on any number of threads, and the first 100 of 1000 paths are the 100-path run.
    initial
        Counts as in `Network.with_initial`, or a `Distribution` over counts whose last time is used: each path draws its own start.
        None means the network's own. What such a distribution has lost is not drawn; ``info["initial_lost"]`` tells how much it is.
    method
        The engine. All are exact, and differ in cost and in the numbers that a seed gives. "direct": Gillespie's direct method.
        "lanes": the same for many paths in lockstep, with the same numbers, three to six times as fast; for up to 64 reactions.
        "rejection": bounds that hold for many events; an event costs about the same in any network, so it wins where an event changes
        some ten propensities, and with 10 000 reactions elsewhere.
        "next_reaction": a heap of due times; one random number an event, but each changed propensity moves in the heap. It is a check of
        the others.
        "auto" chooses from the model alone; ``info["method"]`` says what ran.
    every_event
        Keep the time, the reaction and the new counts of every event as well, in `events` and `event_counts`. The sampled counts are
        those of the run without. Rates may depend on time, but nothing except reactions may change counts.
    stop
        A condition on species, parameters and rules, such as ``"X >= 100 || Y == 0"``. A path ends when it turns true: its counts stay
        as they are then, and the time is in `stopped`, (M,). For first-passage times alone give a single, late time. What it compares
        must be a number in every state in which it is looked at; ``X > 0 && 1/X < 2`` looks no further where X is 0. In models that depend
        on time it may use the time and all that moves: it is then met, between reactions too, at the time at which it turns true, as an
        event is. It is looked at after each reaction, before and after the events that this sets off.
    threads
        None means one for each processor.
    progress
        Show a progress bar: None means in a terminal or a notebook.

    Returns
    -------
    Trajectories
        counts (M, T, S) int64; float64 where events, rate rules, time or random draws are in the model. Then `observables` also holds
        what changes in time besides counts: ``result["k"]`` is (M, T) for a parameter k that a rule or an event changes.

    Raises
    ------
    ModelError
        If the network has what ssa can't take (see `cme.abilities`), a reaction would drive a count below zero, a propensity is negative
        or no finite number, a count passes 2^62, or the network explodes in finite time. If events set each other off without end, a
        delay is negative, a random number can't be drawn, a species is set to no number or a count to a fraction, or a rate
        rule is stiff; or if `stop` compares what is no finite number. The message names the element, and the state or the time.
    ValueError
        If the model can not have an option, such as a `method` where there is but one engine; the message says why.
    MemoryError
        If the counts do not fit this machine.

    Notes
    -----
    Exact: the only error is Monte Carlo, and `Trajectories.standard_error` gives it. Time and memory are proportional to the number of
    events and to M T S; every event kept takes 16 + 8 S bytes. In the direct method an event costs O(R) for up to 64 reactions, above that
    O(sqrt R) besides the propensities that it changes. Propensities are computed in double precision, exact for products of counts up to
    2^53.

    With events, rate rules or time in propensities the path is a piecewise-deterministic process, and exact too: an event happens at the
    time at which its trigger turns true, to the last bit; a sample at that time sees what is after it. A reaction comes when the
    integrated propensities reach an exponential number. Where everything moves in straight lines between jumps (clocks, timed events)
    that has a closed form. There propensities may also be sums of terms f(t) g(x), such as X k (1 + sin(t)): candidates come at bounds
    that interval arithmetic finds of f on cells of time, and fire with probability propensity over bound, which takes some 80 ns an
    event and has no error. Elsewhere the variables and the hazard are integrated together (Dormand and Prince, orders 5 and 4; 600 ns)
    with an error below 1e-9 in each step, and conditions are watched at eight points of a step and at extrema. No pulse in time falls
    into a step, however short: interval arithmetic finds them in all that depends on the time and on what is known in advance, `stop`
    included (``info["resolved_times"]`` times at which a step must end). Of a pulse that depends on counts, or on variables that do,
    nothing is known in advance: one much narrower than a step can be missed. A propensity that moves may fall below zero by 1e-9, and is
    then zero.

    Numbers of molecules that a reaction draws (bursts, partition at division) are drawn in the state before it. A network in which a
    reaction draws takes the direct method alone: another `method` is an error.

    What an event or a random start sets a species to that reactions change is a count: it becomes the whole number that it is within a
    relative 1e-9 (at most 0.1), since a concentration in a volume that moves is rounded; else it is refused. A species that no reaction
    changes may be any real number. A parameter that an event sets to what is no number stays so, if no propensity reads it.

    References
    ----------
    Gillespie, J. Phys. Chem. 81 (1977) 2340, doi:10.1021/j100540a008 (direct); Thanh, Priami and Zunino, J. Chem. Phys. 141 (2014) 134116,
    doi:10.1063/1.4896985 (rejection); Gibson and Bruck, J. Phys. Chem. A 104 (2000) 1876, doi:10.1021/jp993732q (next reaction);
    Lewis and Shedler, Naval Res. Logist. Quart. 26 (1979) 403, doi:10.1002/nav.3800260304 (thinning);
    Davis, J. R. Stat. Soc. B 46 (1984) 353, doi:10.1111/j.2517-6161.1984.tb01308.x (piecewise-deterministic processes).

    Examples
    --------
    Decay from 100 molecules leaves 100 exp(-1) = 36.8 at time 1.

    >>> import cme
    >>> decay = cme.parse("X -> 0 @ 1; X = 100")
    >>> paths = cme.ssa(decay, [0, 1], n_paths=4000, seed=1)
    >>> bool(abs(paths["X"][:, 1].mean() - 36.788) < 5 * paths.standard_error()[1, 0])
    True
    """
    started = time.perf_counter()
    times = check_times(times)
    require(network, "ssa")
    n_paths = check_count("n_paths", n_paths)
    check_method(network, method)
    condition = None if stop is None else stop_condition(network, stop)
    ends = None if condition is None else watched(condition)
    if every_event and not isinstance(network, Network):
        raise ValueError("every_event lists reactions, and a generator has none; sample it at more times instead")
    if not isinstance(network, Network):
        from cme.generator_in_time import TimeDependentGenerator
        from cme.sampling.driven_paths import sample_in_time

        if isinstance(network, TimeDependentGenerator):
            if threads is not None or progress is not None:
                raise ValueError("with rates that depend on time all paths advance together; leave out threads and progress")
            return sample_in_time(network, times, n_paths, seed, initial)
    threads = check_threads(threads)
    key, recorded_seed = check_seed(seed)
    options: dict = {"n_paths": n_paths, "threads": threads}
    if isinstance(network, Network):
        start = "the network's own" if initial is None else str(initial)
        options = {"n_paths": n_paths, "method": method, "every_event": every_event, "stop": stop, "initial": start, "threads": threads}
    sampler = sampler_for(network, times, key, initial, 1 if every_event else n_paths, method, ends)
    size = n_paths, len(times), len(sampler.columns)
    what = "species" if len(sampler.columns) == sampler.n_species else "species and variables"
    check_memory(f"{size[0]} paths x {size[1]} times x {size[2]} {what}", math.prod(size) * 8)
    values = np.zeros(size, dtype=np.float64 if sampler.real else np.int64)
    kept: list = [None] * n_paths
    stopped = np.full(n_paths, np.inf)

    def sample(first: int, last: int, cancel: np.ndarray, done: np.ndarray) -> None:
        sampler.run(first, values[first:last], stopped[first:last], cancel, done)

    task: Task = sample
    if every_event and sampler.list_events is not None:
        task = sampler.list_events(values, stopped, kept)
    events = run_chunks(task, n_paths, threads=threads, label="ssa", show=progress, batch=sampler.batch)
    if condition is not None and stop is not None:
        check_ends(condition, stop, sampler.columns, values[:, -1], stopped)
    name = network.name if isinstance(network, Network) else "generator"
    return Trajectories(
        times=times,
        species=sampler.columns[: sampler.n_species],
        counts=values if len(sampler.columns) == sampler.n_species else np.ascontiguousarray(values[..., : sampler.n_species]),
        info=record("ssa", name, started, options, seed=recorded_seed, events=events, **sampler.found),
        observables=sampler.observe(values, stopped),
        events=tuple((when, which) for when, which, _ in kept) if every_event else None,
        event_counts=tuple(after for _, _, after in kept) if every_event else None,
        cells=None if isinstance(network, Network) else network.widths,
        stopped=None if stop is None else stopped,
    )
