"""`Generator`: the matrix A of a master equation dp/dt = A p, from a network or from any jump rates.

A[i, j] is the rate of the jump j -> i. Columns sum to -leak: what leaves the kept states is not redirected, it is counted. A matrix of
rates W becomes a generator as A = W - diag(W's column sums); the diagonal of W plays no part.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Union

import numpy as np
import scipy.sparse as sp
from scipy.sparse.linalg import LinearOperator

from cme.abilities import require
from cme.arguments import check_count, check_positive, count_arguments
from cme.box import BoxMatrix
from cme.cell_rates import centres_of, check_edges, kernel_rates
from cme.jump_rates import label_states, law_at_start, master_matrix, probabilities_on
from cme.network import Network
from cme.results import Distribution
from cme.spectrum import DENSE, slowest
from cme.states import StateSpace

if TYPE_CHECKING:
    from cme.generator_in_time import TimeDependentGenerator
    from cme.lumping import Lumping


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
    _exit_rates: np.ndarray | None = None  # where they are known otherwise than from the diagonal

    # ------------------------------------------------------------------------------------------------- building

    @classmethod
    def from_network(cls, network: Network, space: StateSpace | None = None) -> "Generator":
        """The generator of a network's master equation, W(x + nu_r, x) = a_r(x).

        Parameters
        ----------
        network
            Where the propensities come from.
        space
            The states to keep; all that can be reached by default.

        Notes
        -----
        Where the space is a large full box, `matrix` is a `cme.box.BoxMatrix`: a `LinearOperator` that multiplies without stored indices,
        twice as fast; `sparse()` makes its entries when they are asked for.

        Examples
        --------
        >>> import cme
        >>> cme.Generator.from_network(cme.parse("A <-> B @ 1, 2; A = 1")).matrix.toarray()
        array([[-1.,  2.],
               [ 1., -2.]])
        """
        require(network, "Generator")
        space = StateSpace.reachable(network) if space is None else space.under(network)
        if space.box is not None:
            free = space.matrix_free
            return cls(free, free.leak, space.states, network.species_names, _exit_rates=free.exit_rates)
        pointer, row, rate, leak = space.transitions()
        matrix = sp.csc_array((rate, row, pointer), shape=(len(space), len(space)))
        if network.varying:  # one state may lead to another in many ways
            matrix.sum_duplicates()
        matrix.has_canonical_format = True
        return cls(matrix, leak, space.states, network.species_names)

    @classmethod
    def from_rates(cls, rates, states=None, *, names: Sequence[str] | None = None) -> Union["Generator", "TimeDependentGenerator"]:
        """The generator of any jump process on N states, A = W - diag(sum over i of W[i, j]).

        Parameters
        ----------
        rates
            W (N, N) with W[i, j] >= 0 the rate from j to i: an array, a sparse matrix, or a `LinearOperator` (matrix-free: its columns
            are looked at once, which takes N products, and not kept). The diagonal is ignored. A function t -> W gives a
            time-dependent generator.
        states : (N,) or (N, D)
            What the indices mean; 0, 1, ..., N-1 by default.
        names
            What the columns of `states` mean.

        Raises
        ------
        ValueError
            If W is not square, or a rate off the diagonal is negative or not finite; the message gives its place.

        Examples
        --------
        >>> import cme
        >>> cme.Generator.from_rates([[7.0, 2.0], [1.0, 0.0]]).matrix.toarray()
        array([[-1.,  2.],
               [ 1., -2.]])
        """
        if callable(rates) and not isinstance(rates, LinearOperator):
            return _in_time(_rates_at, cls, rates, states, names)
        return cls._from_constant_rates(rates, states, names)

    @classmethod
    def _from_constant_rates(cls, rates, states, names: Sequence[str] | None) -> "Generator":
        matrix, out = master_matrix(rates)
        places, labels = label_states(states, names, len(out))
        return cls(matrix, np.zeros(len(out)), places, labels, _exit_rates=out)

    @classmethod
    def from_kernel(
        cls, kernel: Callable, edges, *, tol: float | None = None, names: Sequence[str] | None = None
    ) -> Union["Generator", "TimeDependentGenerator"]:
        """The generator of a jump process on a continuous state, with a density of rates W(x, y) for jumps from y to x.

        The rate from cell j to cell i is the integral of W over cell i, averaged over cell j.

        Parameters
        ----------
        kernel
            W(x, y), or W(x, y, t) for a time-dependent one: the rate density at x of jumps from y, vectorised. With two axes x and y
            have a last axis of length 2.
        edges : (N + 1,) or two such
            Cell edges of one or two axes, beyond which there are no jumps.
        tol
            Error allowed in a column of rates, as a part of the largest one; by default 1e-5 with one axis, 1e-3 with two.
        names
            What the axes mean.

        Raises
        ------
        ValueError
            If the kernel is negative or not finite; the message gives the place.
        ConvergenceError
            If `tol` is not reached with 5e8 values of the kernel; one that jumps asks for a larger `tol`.

        Notes
        -----
        `quadrature_error` estimates how far each column of rates is off in the 1-norm; 2 t times its largest value is in the
        `integration_error` of `fsp`. That probability is spread evenly over each cell is a further error, of second order in the
        widths: solve on cells of half the width. A peak much narrower than a cell is found at x = y; elsewhere it may go unseen.

        Examples
        --------
        >>> import cme, numpy as np
        >>> hop = cme.Generator.from_kernel(lambda x, y: np.exp(-abs(x - y)), np.linspace(0, 1, 5))
        >>> bool(abs(hop.matrix.sum(axis=0)).max() < 1e-14)
        True
        """
        axes = check_edges(edges)
        tol = (1e-5, 1e-3)[len(axes) - 1] if tol is None else check_positive("tol", tol)
        if not callable(kernel) or count_arguments(kernel) not in (2, 3):
            raise ValueError("the kernel must be a function W(x, y) or W(x, y, t); for rates between states use Generator.from_rates")
        if count_arguments(kernel) == 3:
            return _in_time(_kernel_at, cls, kernel, axes, tol, names)
        return cls._from_constant_kernel(kernel, axes, tol, names)

    @classmethod
    def _from_constant_kernel(cls, kernel: Callable, axes: tuple[np.ndarray, ...], tol: float, names) -> "Generator":
        rates, error = kernel_rates(kernel, axes, tol)
        found = cls._from_constant_rates(rates, centres_of(axes), names or ("x", "y")[: len(axes)])
        widths = np.array([np.diff(axis).max() for axis in axes])
        return replace(found, widths=widths, quadrature_error=error.sum(axis=0))

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
        degeneracy, micro = np.asarray(degeneracy, dtype=np.float64), sp.csc_array(rates)
        if np.any(~(degeneracy >= 1)) or np.any(degeneracy != np.round(degeneracy)):
            raise ValueError(f"a degeneracy must be a whole number >= 1, not {degeneracy.tolist()}")
        if degeneracy.shape != micro.shape[:1]:
            raise ValueError(f"there are {micro.shape[0]} levels in the rates and {degeneracy.size} in the degeneracy")
        weighted = sp.diags_array(degeneracy) @ micro
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
        if isinstance(self.matrix, LinearOperator):  # which is applied in this way
            return self.matrix @ p
        w = self.rates
        return w @ p - np.asarray(w.sum(axis=0)).ravel() * p - self.leak * p

    def detailed_balance_defect(self, pi: np.ndarray) -> float:
        """The largest |W(x, y) pi(y) - W(y, x) pi(x)| relative to the largest flux W(x, y) pi(y); 0 in detailed balance."""
        pi = self._law(pi)
        flux = self.rates @ sp.diags_array(pi)
        return float(abs(flux - flux.T).max() / flux.max()) if flux.nnz else 0.0

    def spectrum(self, k: int | None = None, pi: np.ndarray | None = None) -> np.ndarray:
        """Eigenvalues, the slowest (largest real part) first.

        Parameters
        ----------
        k
            How many; all by default (up to 2000 states). One more is given where the last would be half of a complex pair.
        pi : (N,)
            A law with which the rates are in detailed balance: eigenvalues are then those of a symmetric matrix, and real.

        Raises
        ------
        ValueError
            If k is not given for a large generator, or the rates are not in detailed balance with `pi`.
        """
        matrix = self.sparse("the spectrum")
        k = None if k is None else check_count("k", k)
        if pi is not None:
            pi = self._law(pi)
            if not np.all(pi > 0):
                raise ValueError("pi must be above 0 in every state to make the matrix symmetric; leave pi out")
            defect = self.detailed_balance_defect(pi)
            if defect > 1e-9:
                raise ValueError(f"the rates are not in detailed balance with pi (relative defect {defect:.1e}); leave pi out")
            root = np.sqrt(pi)
            matrix = sp.csc_array(sp.diags_array(1 / root) @ matrix @ sp.diags_array(root))
        if k is None and len(self) > DENSE:
            raise ValueError(f"{len(self)} states have too many eigenvalues to compute all; give k")
        return slowest(matrix, k, pi is not None, self.largest_rate)

    def _law(self, pi) -> np.ndarray:
        """Probabilities (N,), up to a factor."""
        pi = np.asarray(pi, dtype=np.float64)
        if pi.shape != (len(self),) or not (np.all(pi >= 0) and np.all(np.isfinite(pi)) and pi.sum() > 0):
            raise ValueError(f"pi must give each of the {len(self)} states a finite number >= 0, and not all of them 0")
        return pi

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
        from cme.lumping import lump  # an arrow that points back

        return lump(self, partition)

    def start(self, initial) -> np.ndarray:
        """A start as probabilities (N,).

        Parameters
        ----------
        initial
            N probabilities; or one state: a tuple in the order of `names`, a mapping from names, or (with one name) a number. Or a
            `Distribution` over some of the states (its last time), whose probabilities are taken as they are, without what it has lost.
        """
        if not isinstance(initial, Distribution):
            return law_at_start(initial, self.states, self.names)
        if tuple(initial.species) != tuple(self.names):
            raise ValueError(f"the initial distribution is over {', '.join(initial.species)}, the generator over {', '.join(self.names)}")
        return probabilities_on(self.states, initial.states, initial.p[-1])

    def sparse(self, what: str = "this") -> sp.csc_array:
        """The matrix with its entries; `ValueError` naming what needs them if the generator has none (on a box, they are made)."""
        if isinstance(self.matrix, BoxMatrix):
            return self.matrix.tocsc()
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


def _rates_at(cls: type[Generator], rates: Callable, states, names, t: float) -> Generator:
    return cls._from_constant_rates(rates(t), states, names)


def _kernel_at(cls: type[Generator], kernel: Callable, axes: tuple[np.ndarray, ...], tol: float, names, t: float) -> Generator:
    return cls._from_constant_kernel(lambda x, y: kernel(x, y, t), axes, tol, names)


def _in_time(build: Callable[..., Generator], *arguments) -> "TimeDependentGenerator":
    from cme.generator_in_time import TimeDependentGenerator  # an arrow that points back

    return TimeDependentGenerator.of(build, *arguments)
