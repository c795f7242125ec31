"""`Generator`: the matrix A of a master equation dp/dt = A p, from a network or from any jump rates.

A[i, j] is the rate of the jump j -> i. Columns sum to -leak: what leaves the kept states is not redirected, it is counted. A matrix of
rates W becomes a generator as A = W - diag(W's column sums); the diagonal of W plays no part.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Union

import numpy as np
import scipy.sparse as sp
from scipy.linalg import eigvals, eigvalsh
from scipy.sparse.linalg import LinearOperator, eigs

from cme.abilities import require
from cme.arguments import count_arguments
from cme.clockwork import Clockwork, with_amounts_apart
from cme.errors import ModelError
from cme.moving_rates import MovingRates, spaces_in_time
from cme.network import Network
from cme.pieces import Piece
from cme.quadrature import centres_of, check_edges, kernel_rates
from cme.states import StateSpace

if TYPE_CHECKING:
    from cme.lumping import Lumping

DENSE = 2000  # up to this many states, all eigenvalues are computed


@dataclass(frozen=True, eq=False, repr=False)
class Generator:
    """A (sub-)generator on N states.

    Attributes
    ----------
    matrix : scipy.sparse.csc_array or LinearOperator (N, N)
        Off the diagonal A[i, j] >= 0 is the rate from j to i; A[j, j] is minus the total rate out of j, leak included.
    leak : (N,)
        Rate out of the kept states: the column sums of A are -leak.
    states : (N, D)
        What the indices mean: counts, positions, or cell centres of a grid.
    names : D names
        What the columns of `states` mean.
    widths : (D,) or None
        The widths of the cells if the states are cells of a continuous space.
    quadrature_error : (N,) or None
        For a jump kernel: how far, at most, the column sums of rates may be off, as estimated from two quadratures.
    """

    matrix: sp.csc_array | LinearOperator
    leak: np.ndarray
    states: np.ndarray
    names: tuple[str, ...] = ("x",)
    widths: np.ndarray | None = None
    quadrature_error: np.ndarray | None = None
    _exit_rates: np.ndarray | None = None  # of a matrix-free generator

    # ------------------------------------------------------------------------------------------------- building

    @classmethod
    def from_network(cls, network: Network, space: StateSpace | None = None) -> "Generator":
        """The generator of a network's master equation, W(x + nu_r, x) = a_r(x).

        Parameters
        ----------
        network
            Where the propensities come from.
        space
            The states to keep; by default all that can be reached.

        Examples
        --------
        >>> import cme
        >>> cme.Generator.from_network(cme.parse("A <-> B @ 1, 2; A = 1")).matrix.toarray()
        array([[-1.,  2.],
               [ 1., -2.]])
        """
        require(network, "Generator")
        space = StateSpace.reachable(network) if space is None else space.under(network)
        pointer, row, rate, leak = space.transitions()
        matrix = sp.csc_array((rate, row, pointer), shape=(len(space), len(space)))
        matrix.sum_duplicates()  # two reactions may lead from one state to the same other
        return cls(matrix, leak, space.states, network.species_names)

    @classmethod
    def from_rates(cls, rates, states=None, *, names: Sequence[str] | None = None) -> Union["Generator", "TimeDependentGenerator"]:
        """The generator of any jump process on N states, A = W - diag(sum over i of W[i, j]).

        Parameters
        ----------
        rates
            W (N, N) with W[i, j] >= 0 the rate from j to i: an array, a sparse matrix, or a `LinearOperator` (matrix-free; it must
            also apply its transpose). The diagonal is ignored. A function t -> W gives a time-dependent generator.
        states : (N,) or (N, D)
            What the indices mean; 0, 1, ..., N-1 by default.
        names
            What the columns of `states` mean.

        Raises
        ------
        ValueError
            If W is not square, or a rate off the diagonal is negative or not finite; the message gives its place. (The entries
            of a `LinearOperator` can't be seen; its column sums are checked.)

        Examples
        --------
        >>> import cme
        >>> cme.Generator.from_rates([[7.0, 2.0], [1.0, 0.0]]).matrix.toarray()
        array([[-1.,  2.],
               [ 1., -2.]])
        """
        if callable(rates) and not isinstance(rates, LinearOperator):
            return TimeDependentGenerator(_remember(lambda t: cls._from_constant_rates(rates(t), states, names)))
        return cls._from_constant_rates(rates, states, names)

    @classmethod
    def _from_constant_rates(cls, rates, states, names: Sequence[str] | None) -> "Generator":
        if isinstance(rates, LinearOperator):
            return cls._matrix_free(rates, states, names)
        w = sp.coo_array(rates if sp.issparse(rates) else np.atleast_2d(np.asarray(rates, dtype=np.float64)))
        if w.shape[0] != w.shape[1]:
            raise ValueError(f"a matrix of rates must be square, not {w.shape[0]} x {w.shape[1]}")
        off = w.row != w.col
        row, column, rate = w.row[off], w.col[off], w.data[off].astype(np.float64)
        wrong = np.flatnonzero(~((rate >= 0) & np.isfinite(rate)))
        if wrong.size:
            i, j, value = row[wrong[0]], column[wrong[0]], rate[wrong[0]]
            raise ValueError(f"the rate from state {j} to state {i}, W[{i}, {j}], is {value:g}; a rate must be finite and >= 0")
        n_states = w.shape[0]
        out = np.bincount(column, weights=rate, minlength=n_states)
        here = np.arange(n_states)
        entries = np.concatenate([rate, -out]), (np.concatenate([row, here]), np.concatenate([column, here]))
        matrix = sp.csc_array(sp.coo_array(entries, shape=w.shape))
        places, labels = _label_states(states, names, n_states)
        return cls(matrix, np.zeros(n_states), places, labels)

    @classmethod
    def _matrix_free(cls, w: LinearOperator, states, names: Sequence[str] | None) -> "Generator":
        """Gain minus loss, W p - (column sums of W) p: whatever the diagonal of W is, it cancels."""
        n_states = w.shape[0]
        out = np.asarray(w.rmatvec(np.ones(n_states)), dtype=np.float64)
        wrong = np.flatnonzero(~((out >= 0) & np.isfinite(out)))
        if wrong.size:
            raise ValueError(f"the rates out of state {wrong[0]} sum to {out[wrong[0]]:g}; rates must be finite and >= 0")
        operator = LinearOperator((n_states, n_states), matvec=lambda p: w @ p - out * p, dtype=np.float64)
        places, labels = _label_states(states, names, n_states)
        return cls(operator, np.zeros(n_states), places, labels, _exit_rates=out)

    @classmethod
    def from_kernel(
        cls, kernel: Callable, edges, *, order: int = 4, names: Sequence[str] | None = None
    ) -> Union["Generator", "TimeDependentGenerator"]:
        """The generator of a jump process on a continuous state, with a density of rates W(x, y) for jumps from y to x.

        The rate from cell j to cell i is the integral of W over cell i, averaged over cell j.

        Parameters
        ----------
        kernel
            W(x, y), or W(x, y, t) for a time-dependent one: the rate density at x of jumps from y, vectorised. With two axes x and y
            have a last axis of length 2.
        edges : (N + 1,) or two such
            Cell edges of one or two axes. The grid is the whole state space: there are no jumps beyond it.
        order
            Gauss points per cell and axis.
        names
            What the axes mean.

        Raises
        ------
        ValueError
            If the kernel is negative or not finite; the message gives the place.

        Notes
        -----
        `quadrature_error` compares with a quadrature of half the order: each column of rates is off by about that much in the 1-norm,
        and a solution at time t by at most t times its largest value. That probability is spread evenly over each cell is a
        further error, of second order in the widths; solve on cells of half the width to see it.

        Examples
        --------
        >>> import cme, numpy as np
        >>> hop = cme.Generator.from_kernel(lambda x, y: np.exp(-abs(x - y)), np.linspace(0, 1, 5))
        >>> bool(abs(hop.matrix.sum(axis=0)).max() < 1e-14)
        True
        """
        axes = check_edges(edges)
        if count_arguments(kernel) == 3:
            return TimeDependentGenerator(_remember(lambda t: cls._from_constant_kernel(lambda x, y: kernel(x, y, t), axes, order, names)))
        return cls._from_constant_kernel(kernel, axes, order, names)

    @classmethod
    def _from_constant_kernel(cls, kernel: Callable, axes: tuple[np.ndarray, ...], order: int, names) -> "Generator":
        rates = kernel_rates(kernel, axes, order)
        coarse = kernel_rates(kernel, axes, max(order // 2, 1))
        found = cls._from_constant_rates(rates, centres_of(axes), names or ("x", "y")[: len(axes)])
        difference = np.abs(rates - coarse)
        np.fill_diagonal(difference, 0.0)
        widths = np.array([np.diff(axis).max() for axis in axes])
        return cls(found.matrix, found.leak, found.states, found.names, widths, difference.sum(axis=0))

    @classmethod
    def from_levels(cls, rates, degeneracy, states=None) -> "Generator":
        """The generator of degenerate levels: level x holds d_x microstates, w(x, y) is the rate from a microstate to a microstate.

        The probability P_x of a whole level obeys dP_x/dt = sum over y of [d_x w(x, y) P_y - d_y w(y, x) P_x]: the factor is the
        degeneracy of the destination.

        Parameters
        ----------
        rates : (L, L)
            Microscopic rates w(x, y) from a microstate of y to each microstate of x.
        degeneracy : (L,)
            Whole numbers d_x >= 1.
        states
            What the levels mean.
        """
        degeneracy = np.asarray(degeneracy, dtype=np.float64)
        if np.any(degeneracy < 1) or np.any(degeneracy != np.round(degeneracy)):
            raise ValueError(f"a degeneracy must be a whole number >= 1, not {degeneracy.tolist()}")
        weighted = sp.diags_array(degeneracy) @ sp.csc_array(np.asarray(rates, dtype=np.float64))
        return cls._from_constant_rates(weighted, states, None)

    # ------------------------------------------------------------------------------------------------- looking

    @property
    def exit_rates(self) -> np.ndarray:
        """The total rate out of each state, leak included, (N,)."""
        return -self.matrix.diagonal() if self._exit_rates is None else self._exit_rates

    @property
    def largest_rate(self) -> float:
        """The largest total rate out of a state."""
        return float(self.exit_rates.max(initial=0.0))

    @property
    def rates(self) -> sp.csc_array:
        """W: the rates off the diagonal, (N, N)."""
        w = self.sparse("the list of rates").tocoo()
        off = w.row != w.col
        return sp.csc_array(sp.coo_array((w.data[off], (w.row[off], w.col[off])), shape=w.shape))

    def gain_loss(self, p: np.ndarray) -> np.ndarray:
        """dp/dt as what comes in minus what goes out, sum over y of [W(x, y) p(y) - W(y, x) p(x)] - leak p; equals ``self @ p``."""
        w = self.rates
        return w @ p - np.asarray(w.sum(axis=0)).ravel() * p - self.leak * p

    def detailed_balance_defect(self, pi: np.ndarray) -> float:
        """The largest |W(x, y) pi(y) - W(y, x) pi(x)| relative to the largest flux W(x, y) pi(y); 0 in detailed balance."""
        flux = self.rates @ sp.diags_array(np.asarray(pi))
        return float(abs(flux - flux.T).max() / flux.max()) if flux.nnz else 0.0

    def spectrum(self, k: int | None = None, pi: np.ndarray | None = None) -> np.ndarray:
        """Eigenvalues, the slowest (largest real part) first.

        Parameters
        ----------
        k
            How many; all by default (up to 2000 states).
        pi : (N,)
            A law with which the rates are in detailed balance: the eigenvalues are then real, and come from the symmetric matrix
            pi^(-1/2) A pi^(1/2).

        Raises
        ------
        ValueError
            If k is not given for a large generator, or the rates are not in detailed balance with `pi`.
        """
        matrix = self.sparse("the spectrum")
        if pi is not None:
            defect = self.detailed_balance_defect(pi)
            if defect > 1e-9:
                raise ValueError(f"the rates are not in detailed balance with pi (relative defect {defect:.1e}); leave pi out")
            root = np.sqrt(np.asarray(pi))
            matrix = sp.csc_array(sp.diags_array(1 / root) @ matrix @ sp.diags_array(root))
        if k is None or k >= len(self) - 1:
            if len(self) > DENSE:
                raise ValueError(f"{len(self)} states have too many eigenvalues to compute all; give k")
            values = eigvals(matrix.toarray()) if pi is None else eigvalsh((matrix + matrix.T).toarray() / 2)
        else:
            shift = 1e-9 * self.largest_rate  # beside the eigenvalue 0, where A itself is singular
            values = eigs(matrix.tocsc(), k=k, sigma=shift, which="LM", return_eigenvectors=False)
            values = values.real if pi is not None else values
        return values[np.argsort(-values.real)][:k]

    def jump_moments(self, k: int) -> np.ndarray:
        """Jump moments a_k(y) = sum over x of (x - y)^k W(x, y); for D > 1 the tensor, (N, D, ..., D) with k axes D.

        The Fokker-Planck equation of the process (Kramers 1940, Moyal 1949) keeps k = 1 (drift) and k = 2 (noise).
        """
        if k < 1:
            raise ValueError(f"jump moments are numbered from 1, not {k}")
        w = self.rates.tocoo()
        jump = np.asarray(self.states, dtype=np.float64)[w.row] - np.asarray(self.states, dtype=np.float64)[w.col]
        term = w.data
        for _ in range(k):
            term = term[..., None] * jump.reshape(len(jump), *[1] * (term.ndim - 1), -1)
        out = np.zeros((len(self), *term.shape[1:]))
        np.add.at(out, w.col, term)
        return out

    def lump(self, partition: np.ndarray) -> "Lumping":
        """The generator on the levels of a strongly lumpable partition (N,), see `cme.lump`."""
        from cme.lumping import lump  # an arrow that points back: a generator can lump itself

        return lump(self, partition)

    def start(self, initial) -> np.ndarray:
        """A start as probabilities (N,).

        Parameters
        ----------
        initial
            An array of N probabilities; or one state, as a tuple in the order of `names`, a mapping from names, or (with one name) a
            number.
        """
        if isinstance(initial, Mapping | tuple) or np.ndim(initial) == 0:
            wanted = (
                initial if isinstance(initial, tuple) else [initial[n] for n in self.names] if isinstance(initial, Mapping) else [initial]
            )
            found = np.flatnonzero(np.all(np.isclose(self.states, np.asarray(wanted, dtype=np.float64), rtol=1e-12, atol=1e-12), axis=1))
            if found.size != 1:
                raise ValueError(f"the initial state {initial!r} is not one of the {len(self)} states of the generator")
            return np.bincount(found, minlength=len(self)).astype(np.float64)
        p = np.array(initial, dtype=np.float64)
        if p.shape != (len(self),):
            raise ValueError(f"initial must hold {len(self)} probabilities or be one state, not an array of shape {p.shape}")
        if not np.all(p >= 0) or abs(p.sum() - 1) > 1e-9:
            raise ValueError(f"the initial probabilities must be >= 0 and sum to 1; they sum to {p.sum():.12g}")
        return p

    def sparse(self, what: str = "this") -> sp.csc_array:
        """The matrix with its entries; `ValueError` naming what needs them if the generator is matrix-free."""
        if isinstance(self.matrix, LinearOperator):
            raise ValueError(f"{what} needs the entries of the generator, and this one is matrix-free; build it from a sparse matrix")
        return self.matrix

    def __matmul__(self, p: np.ndarray) -> np.ndarray:
        return self.matrix @ p

    def __len__(self) -> int:
        return self.matrix.shape[0]

    def __repr__(self) -> str:
        entries = "matrix-free" if isinstance(self.matrix, LinearOperator) else f"{self.matrix.nnz} entries"
        return f"Generator: {len(self)} states, {entries}, leak up to {self.leak.max(initial=0.0):g}"


@dataclass(frozen=True, eq=False, repr=False)
class TimeDependentGenerator:
    """A master equation dp/dt = A(t) p: at each time a `Generator` on the same states.

    Attributes
    ----------
    at
        The generator at a time.
    """

    at: Callable[[float], Generator]

    @classmethod
    def from_network(cls, network: Network, until: float, space: StateSpace | None = None) -> "TimeDependentGenerator":
        """The generator of a network whose propensities move with time.

        Parameters
        ----------
        network
            Propensities may use the time, and variables whose course does not depend on counts. Timed events may set such variables.
        until
            The rates are known from time 0 to here.
        space
            The states to keep; by default all that the rates lead to.

        Raises
        ------
        ModelError
            If an event changes counts (`fsp` takes it), or what is set depends on counts or chance.

        Examples
        --------
        >>> import cme
        >>> g = cme.TimeDependentGenerator.from_network(cme.parse("A => B @ A*time; A = 1"), until=2.0)
        >>> g.at(1.5).matrix.toarray()
        array([[-1.5,  0. ],
               [ 1.5,  0. ]])
        """
        require(network, "fsp")
        network = with_amounts_apart(network)
        for event in network.events:
            for name in {each.name for each in event.assignments} & set(network.species_names):
                raise ModelError(f"event {event.name!r} changes the count of {name!r}, which no generator does; use fsp")
        pieces = Clockwork(network, until).pieces
        if not pieces:
            raise ValueError(f"until={until:g} must be above 0")
        spaces = spaces_in_time(network, pieces, space)
        parts = [cls.in_piece(network, piece, own) for piece, own in zip(pieces, spaces, strict=True)]
        starts = np.array([piece.start for piece in pieces])

        def at(time: float) -> Generator:
            if not 0 <= time <= until:
                raise ValueError(f"the rates are known from time 0 to {until:g}, not at {time:g}")
            return parts[np.searchsorted(starts, time, side="right") - 1].at(time)

        return cls(_remember(at))

    @classmethod
    def in_piece(cls, network: Network, piece: Piece, space: StateSpace) -> "TimeDependentGenerator":
        """The generator in one piece of time, between events and switches of the rates."""
        rates = MovingRates(network, piece, space)
        return cls(_remember(lambda time: Generator(*rates.at(time), space.states, network.species_names)))

    @property
    def states(self) -> np.ndarray:
        return self.at(0.0).states

    @property
    def names(self) -> tuple[str, ...]:
        return self.at(0.0).names

    def start(self, initial) -> np.ndarray:
        """A start as probabilities (N,), see `Generator.start`."""
        return self.at(0.0).start(initial)

    def __len__(self) -> int:
        return len(self.at(0.0))

    def __repr__(self) -> str:
        return f"TimeDependentGenerator: {len(self)} states"


def _label_states(states, names: Sequence[str] | None, n_states: int) -> tuple[np.ndarray, tuple[str, ...]]:
    places = np.arange(n_states)[:, None] if states is None else np.asarray(states)
    places = places[:, None] if places.ndim == 1 else places
    if places.shape[0] != n_states:
        raise ValueError(f"there are {n_states} states in the rates and {places.shape[0]} in states")
    default = ("x",) if places.shape[1] == 1 else tuple(f"x{i + 1}" for i in range(places.shape[1]))
    labels = default if names is None else tuple(names)
    if len(labels) != places.shape[1]:
        raise ValueError(f"states have {places.shape[1]} columns and there are {len(labels)} names")
    return places, labels


_remember = lru_cache(maxsize=16)  # an integrator asks for the same times again
