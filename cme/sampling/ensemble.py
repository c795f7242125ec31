"""`ensemble`: very many exact random paths, of which only sums and histograms are kept."""

import math
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Union

import numpy as np

from cme.abilities import require
from cme.arguments import Seed, check_count, check_memory, check_seed, check_threads, check_times, record
from cme.ensembles import Ensemble, Histogram, Joint
from cme.network import Network
from cme.sampling.sampler import Sampler, check_method, sampler_for
from cme.sampling.stopping import check_ends, stop_condition, watched
from cme.sampling.tally import LEAF, Place, Tally, pairs
from cme.threads import run_chunks

if TYPE_CHECKING:  # importing it takes longer than a small simulation
    from cme.generator import Generator

_MOST_PATHS = 128 * LEAF  # in a block
_MOST_VALUES = 2**19  # in a block: 4 MB
_LONG = 0.2  # seconds for a block, so that progress is seen
_GROWTH = 8  # from one block to the next
_MOST_SPECIES = 100  # whose covariances are kept by default


def ensemble(
    network: Union[Network, "Generator"],
    times,
    *,
    n_paths: int = 10_000,
    seed: Seed = None,
    initial=None,
    covariance: bool | None = None,
    histogram: bool | Iterable[str] = True,
    joint: Iterable[tuple[str, str]] = (),
    bins: int = 500,
    method: str = "auto",
    stop: str | None = None,
    threads: int | None = None,
    progress: bool | None = None,
) -> Ensemble:
    """Sample paths as `ssa` does, and keep their means, covariances and histograms at given times, but not the paths.

    ::

        mean = sum_i x_i / M      covariance = sum_i (x_i - mean) (x_i - mean)^T / (M - 1)

    Path i is that of ``ssa`` with the same seed. Memory does not grow with the number of paths.

    Parameters
    ----------
    network
        The reaction network, as for `ssa`. Or a `Generator` on counts; `initial` is then needed.
    times : (T,)
        When the paths are sampled, in the model's time unit; they start at time 0. A path at time t includes an event at t.
    n_paths
        M, the number of paths.
    seed
        As in `ssa`.
    initial
        As in `ssa`.
    covariance
        Keep the covariances of all pairs of species (True), or variances only (False). None keeps them up to 100 species: time and memory
        then grow with the species and not with their pairs. ``info["options"]["covariance"]`` says which it was.
    histogram
        Keep histograms of all species and observables (True), of none (False), or of those named.
    joint
        Pairs of species or observables of which joint histograms are kept.
    bins
        K, the number of bins. Bins are as narrow a power of two as lets all values at that time fit, at least 1 for whole numbers:
        histograms are exact where counts range over less than K. A joint histogram has sqrt(8 K) bins a side.
    method
        As in `ssa`; a network in which a reaction draws numbers of molecules takes the direct method alone.
    stop
        As in `ssa`: a condition that ends a path, in models that depend on time, too. ``result.stopped`` (T,) is the number of paths that
        have met it by each time.
    threads
        None means one for each processor.
    progress
        Show a progress bar: None means in a terminal or a notebook.

    Returns
    -------
    Ensemble
        What changes in time besides counts, and observables, are there by name: ``result["k"]`` is the mean (T,).

    Raises
    ------
    ModelError
        As `ssa`; or if a count reaches 2^53, or sums of squares 2^127.
    ValueError
        If a histogram of what the model does not have is asked for, or the states of a generator are positions.
    MemoryError
        If histograms, covariances and blocks of paths do not fit this machine.

    Notes
    -----
    The result is the same to the last bit on any number of threads. Sums of counts and of their products are whole numbers of 128 bits, so
    that means and covariances are the numbers in float64 that are next to the exact ones. Observables, and all values of
    models with rules and events, are real numbers: their moments are merged in a fixed tree over the paths (relative error about 1e-15).
    Each thread keeps 8 T K bytes for each histogram, 8 T S^2 for covariances, and up to 8 MB of paths.

    References
    ----------
    Gillespie, J. Phys. Chem. 81 (1977) 2340, doi:10.1021/j100540a008; Chan, Golub and LeVeque, Amer. Statist. 37 (1983) 242,
    doi:10.1080/00031305.1983.10483115 (merging moments).

    Examples
    --------
    Molecules that come and go are independent: mean and variance are both 20 (1 - exp(-1)) = 12.64 at time 1.

    >>> import cme
    >>> birth_death = cme.parse("0 -> X @ 20; X -> 0 @ 1")
    >>> found = cme.ensemble(birth_death, [1.0], n_paths=20_000, seed=1)
    >>> bool(abs(found["X"][0] - 12.642) < 5 * found.standard_error()[0, 0])
    True
    >>> bool(abs(found.variance("X")[0] - 12.642) < 5 * found.variance_error()[0, 0])
    True
    """
    started = time.perf_counter()
    times = check_times(times)
    require(network, "ensemble")
    n_paths, bins, threads = check_count("n_paths", n_paths), check_count("bins", bins, 2), check_threads(threads)
    check_method(network, method)
    condition = None if stop is None else stop_condition(network, stop)
    key, recorded_seed = check_seed(seed)
    if not isinstance(network, Network) and network.widths is not None:
        raise ValueError("the states of this generator are positions, and an ensemble counts; sample it with ssa")
    sampler = sampler_for(network, times, key, initial, n_paths, method, None if condition is None else watched(condition))
    plan = _Plan(sampler, times, covariance, histogram, joint, bins)
    check_memory(f"histograms and covariances for {threads} threads", plan.n_bytes(threads, n_paths))
    idle: list[tuple[Tally, int]] = []  # no more than there are threads; and how many paths their next block has

    def sample(first: int, last: int, cancel: np.ndarray, done: np.ndarray) -> None:
        try:
            tally, size = idle.pop()
        except IndexError:  # more threads are at work than ever before
            tally, size = plan.tally(), max(LEAF, min(sampler.batch, plan.most_paths))
        while first < last:
            began = time.perf_counter()
            values = np.empty((min(size, last - first), *plan.shape), dtype=np.float64 if sampler.real else np.int64)
            stopped = np.full(len(values), np.inf)
            sampler.run(first, values, stopped, cancel, done)
            if cancel[0]:
                return  # the block may be unfinished; nothing of it, or of this tally, will be used
            if condition is not None and stop is not None:
                check_ends(condition, stop, sampler.columns, values[:, -1], stopped)
            tally.add(first, *plan.columns(values, stopped))
            tally.stopped += np.searchsorted(np.sort(stopped), times, side="right")
            first += len(values)
            done[2:] += done[:2]
            done[:2] = 0
            if time.perf_counter() - began < _LONG / _GROWTH:  # the result does not depend on the blocks
                size = min(_GROWTH * size, plan.most_paths)
        idle.append((tally, size))

    grain = LEAF if plan.n_reals else 1
    events = run_chunks(sample, n_paths, threads=threads, label="ensemble", show=progress, grain=grain, batch=sampler.batch)
    total, _ = idle.pop()
    for tally, _ in idle:
        total.merge(tally)
    options = {"n_paths": n_paths, "initial": "the network's own" if initial is None else str(initial), "covariance": plan.covariance}
    options |= {"histogram": sorted(plan.charts), "joint": sorted(plan.joints), "bins": bins, "method": method, "stop": stop}
    options["threads"] = threads
    name = network.name if isinstance(network, Network) else "generator"
    info = record("ensemble", name, started, options, seed=recorded_seed, n_paths=n_paths, events=events, **sampler.found)
    return plan.finish(total, n_paths, info, stop is not None)


class _Plan:
    """What is kept: which columns, in which table, and which pairs of them."""

    def __init__(self, sampler: Sampler, times: np.ndarray, covariance: bool | None, histogram, joint, bins: int):
        self.sampler, self.times, self.bins = sampler, times, bins
        self.shape = len(times), len(sampler.columns)
        self.species = sampler.columns[: sampler.n_species]
        self.covariance = len(self.species) <= _MOST_SPECIES if covariance is None else bool(covariance)
        self.others = tuple(sampler.observe(np.zeros((0, *self.shape)), np.zeros(0)))
        n = len(self.species)
        self.n_wholes, self.n_reals = (0, n + len(self.others)) if sampler.real else (n, len(self.others))
        table = int(sampler.real)
        self.places: dict[str, Place] = {name: (table, s) for s, name in enumerate(self.species)}
        self.places |= {name: (1, i + table * n) for i, name in enumerate(self.others)}
        wanted = tuple(self.places) if histogram is True else () if histogram is False else _names("histogram", histogram)
        self.charts = {name: self.place(name) for name in wanted}
        self.joints = {(a, b): (self.place(a), self.place(b)) for a, b in _pairs(joint)}
        fit = _MOST_VALUES // max(self.shape[0] * (self.n_wholes + self.n_reals), 1)
        self.most_paths = max(min(_MOST_PATHS, fit // LEAF * LEAF), LEAF)

    def n_bytes(self, threads: int, n_paths: int) -> int:
        """What is taken at most: by the tally and the block of each thread, and at the end."""
        n_times, columns = len(self.times), self.n_wholes + self.n_reals
        products = [len(pairs(size, mixed)[0]) for size, mixed in zip((self.n_wholes, self.n_reals), self.mixed, strict=True)]
        charts = 8 * n_times * self.bins * (len(self.charts) + 8 * len(self.joints))
        levels = math.ceil(math.log2(max(n_paths / LEAF, 1))) + 4  # of the tree of real numbers, and what is being merged
        sums = 8 * n_times * (2 * (self.n_wholes + products[0]) + levels * (self.n_reals + products[1]))
        block = 3 * 8 * n_times * min(self.most_paths, n_paths) * columns  # as it comes, in tables, and turned
        end = 8 * n_times * (2 * sum(products) + columns) + 400 * products[0]  # the last are whole numbers of Python, at one time
        if self.covariance:
            end += 8 * n_times * (len(self.species) ** 2 + (columns**2 if self.sampler.real else 0))
        return threads * (charts + sums + block) + charts + sums + end

    @property
    def mixed(self) -> tuple[bool, bool]:
        return self.covariance, self.covariance and self.sampler.real

    def place(self, name: str) -> Place:
        if name not in self.places:
            raise ValueError(f"no species or observable {name!r} to keep a histogram of; there are {', '.join(self.places)}")
        return self.places[name]

    def tally(self) -> Tally:
        return Tally(len(self.times), (self.n_wholes, self.n_reals), self.mixed, self.charts, self.joints, self.bins)

    def columns(self, values: np.ndarray, stopped: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The whole and the real numbers of a block, (B, T, C) each."""
        observed = self.sampler.observe(values, stopped)
        others = [np.broadcast_to(observed[name], values.shape[:2])[..., None] for name in self.others]
        species = values[..., : len(self.species)]
        if not self.sampler.real:
            return species, np.concatenate(others, axis=2) if others else np.empty((*values.shape[:2], 0))
        return np.empty((*values.shape[:2], 0), dtype=np.int64), np.concatenate([species, *others], axis=2)

    def finish(self, tally: Tally, n_paths: int, info: dict, stops: bool) -> Ensemble:
        moments = tally.wholes.moments(n_paths), tally.reals.moments(n_paths)
        table, n = int(self.sampler.real), len(self.species)
        variances = [
            found[1][:, first == second] for found, (first, second) in zip(moments, (tally.wholes.pairs, tally.reals.pairs), strict=True)
        ]
        covariances = None
        if self.covariance:
            first, second = (tally.wholes, tally.reals)[table].pairs
            covariances = np.empty((len(self.times), n, n))
            kept = second < n  # and so is first
            for at, found in zip(covariances, moments[table][1], strict=True):
                at[first[kept], second[kept]] = at[second[kept], first[kept]] = found[kept]
        charts = {
            name: tuple(Histogram(bins, counts, unfit) for (bins,), counts, unfit in chart.finish())
            for name, (_, chart) in tally.charts.items()
        }
        joints = {pair: tuple(Joint((a, b), counts) for (a, b), counts, _ in chart.finish()) for pair, (_, chart) in tally.joints.items()}
        return Ensemble(
            times=self.times,
            species=self.species,
            n_paths=n_paths,
            means=moments[table][0][:, :n].copy(),
            variances=variances[table][:, :n].copy(),
            covariances=covariances,
            info=info,
            observables={name: moments[1][0][:, self.places[name][1]].copy() for name in self.others},
            observable_variances={name: variances[1][:, self.places[name][1]].copy() for name in self.others},
            histograms=charts,
            joints=joints,
            stopped=tally.stopped if stops else None,
        )


def _names(option: str, value) -> tuple:
    """Names in a list; a single text would be taken apart."""
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise TypeError(f"{option} must be a list of names such as ['X'], not {value!r}")
    return tuple(value)


def _pairs(joint) -> tuple:
    pairs_of = _names("joint", joint)
    for each in pairs_of:
        if isinstance(each, str) or not isinstance(each, Sequence) or len(each) != 2:
            raise TypeError(f"joint must be a list of pairs of names such as [('X', 'Y')], not {joint!r}")
    return pairs_of
