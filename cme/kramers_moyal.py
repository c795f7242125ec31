"""`jump_moments`: how far and how irregularly a jump process moves in a short time."""

from collections.abc import Callable

import numpy as np

from cme.abilities import require
from cme.arguments import check_number, count_arguments
from cme.compiled import Compiled
from cme.generator import Generator
from cme.generator_in_time import TimeDependentGenerator
from cme.network import Network
from cme.quadrature import kernel_moments


def jump_moments(
    process: Callable | Generator | TimeDependentGenerator | Network,
    k: int,
    at=None,
    *,
    domain: tuple[float, float] | None = None,
    time: float | None = None,
) -> np.ndarray:
    r"""Compute the jump moments of a process, (Kramers 1940, Moyal 1949).

    .. math:: a_k(y) = \int (x - y)^k\, W(x, y)\, dx, \qquad a_k = \sum_r \nu_r^{\otimes k}\, a_r \ \text{for a network}

    The first is the drift, the second the noise of the diffusion that the process tends to when its jumps are small and many; the
    others tell what that leaves out.

    Parameters
    ----------
    process
        A jump kernel W(x, y) or W(x, y, t), the rate density at x of jumps from y on a line, vectorised; a `Generator` (also for a kernel
        in two dimensions, `Generator.from_kernel`); or a network.
    k
        The order, from 1.
    at
        Where: places y (N,) for a kernel, states (N, S) for a network (its initial ones by default). A generator has its own states.
    domain
        Of a kernel: jumps beyond it do not happen. All of the line by default.
    time
        When, for what depends on time; 0 by default.

    Returns
    -------
    array
        (N,) for a kernel; (N, S, ..., S) with k axes S otherwise.

    Raises
    ------
    ValueError
        If the kernel is negative, or an argument does not go with the process.
    ConvergenceError
        If a moment of a kernel does not exist, or is not found to 1e-10 of the integral of abs(x - y)^k W.

    Notes
    -----
    The integral is taken over the logarithm of the length of a jump. Jumps whose lengths are all within a few per cent of each other
    may go unseen; such jumps are better given as rates, with `Generator.from_rates`.

    References
    ----------
    H. A. Kramers, Physica 7, 284 (1940), doi:10.1016/S0031-8914(40)90098-2. J. E. Moyal, J. R. Stat. Soc. B 11, 150 (1949),
    doi:10.1111/j.2517-6161.1949.tb00030.x.

    Examples
    --------
    >>> import cme, numpy as np
    >>> hop = lambda x, y: np.exp(-abs(x - y)) / 2  # a_2 = 2! for every y
    >>> cme.jump_moments(hop, 2, [0.0, 5.0]).round(9).tolist()
    [2.0, 2.0]
    >>> cme.jump_moments(cme.parse("0 -> 2 X @ 3; X -> 0 @ 1; X = 5"), 1).tolist()
    [[1.0]]
    """
    if k < 1 or int(k) != k:
        raise ValueError(f"jump moments are numbered 1, 2, ..., not {k!r}")
    is_kernel = not isinstance(process, Generator | TimeDependentGenerator | Network) and callable(process)
    if domain is not None and not is_kernel:
        raise ValueError("only a kernel has a domain; leave it out")
    n_arguments = count_arguments(process) if callable(process) and is_kernel else 0
    in_time = isinstance(process, TimeDependentGenerator) or n_arguments == 3
    if time is not None and not in_time:
        raise ValueError("nothing here depends on time; leave out time")
    now = 0.0 if time is None else check_number("time", time)
    if isinstance(process, Generator | TimeDependentGenerator):
        if at is not None:
            raise ValueError("a generator has its own states; leave out at")
        return (process if isinstance(process, Generator) else process.at(now)).jump_moments(int(k))
    if isinstance(process, Network):
        require(process, "jump_moments")
        states = Compiled(process).start(None, whole=False)[0] if at is None else np.atleast_2d(np.asarray(at, dtype=np.float64))
        out = Compiled(process).propensities(states)  # (N, R)
        change = process.stoichiometry.astype(np.float64)
        terms = np.ones((len(change), 1))
        for _ in range(int(k)):
            terms = (terms[:, :, None] * change[:, None, :]).reshape(len(change), -1)
        return (out @ terms).reshape(len(states), *[change.shape[1]] * int(k))
    if n_arguments not in (2, 3):
        raise TypeError(
            "jump_moments takes a kernel W(x, y) or W(x, y, t), a Generator or a Network; for a Diffusion they are its drift and noise"
        )
    if at is None:
        raise ValueError("say with at= at which places y the moments of the kernel are wanted")
    places = np.atleast_1d(np.asarray(at, dtype=np.float64))
    if places.ndim != 1:
        raise ValueError(
            "the kernel must be one of jumps on a line, at places (N,); in two dimensions put it on a grid, Generator.from_kernel"
        )
    kernel = (lambda x, y: process(x, y, now)) if in_time else process
    return kernel_moments(kernel, int(k), places, (-np.inf, np.inf) if domain is None else domain)
