"""`Coefficient`: a drift or a noise, given as numbers or as a function of positions (and time), evaluated on arrays."""

from dataclasses import dataclass

import numpy as np

from cme.arguments import count_arguments
from cme.errors import ModelError, describe_state


@dataclass(frozen=True, eq=False)
class Coefficient:
    """A field over positions (K, D): a vector (K, D) if its rank is 1, a matrix (K, D, D) if it is 2.

    Attributes
    ----------
    what
        Its name in error messages.
    given
        Numbers, or a function of x or of x and t; x is (K,) if there is one coordinate.
    names : D names
    rank
    shape
        That of the value at one point as it is given: () in one dimension; in two, (2,), (2, 2) or, for a matrix, () as well.
    in_time
        Does it depend on time?
    """

    what: str
    given: object
    names: tuple[str, ...]
    rank: int
    shape: tuple[int, ...]
    in_time: bool

    @classmethod
    def of(cls, what: str, given: object, names: tuple[str, ...], rank: int, points: np.ndarray) -> "Coefficient":
        """Look at three points (3, D) what form the values have."""
        in_time = callable(given) and count_arguments(given) == 2
        if callable(given) and count_arguments(given) not in (1, 2):
            raise ValueError(f"the {what} must be a function of x, or of x and t, not of {count_arguments(given)} arguments")
        if not callable(given) and not np.all(np.isfinite(np.asarray(given, dtype=np.float64))):
            raise ValueError(f"the {what} must hold finite numbers, not {given!r}")
        size = len(names)
        shapes = [()] if size == 1 else [(size,)] if rank == 1 else [(), (size,), (size, size)]
        found = np.shape(_call(what, given, in_time, points, 0.0))
        for shape in shapes:
            if found in (shape, (3, *shape)):
                return cls(what, given, names, rank, shape, in_time)
        wanted = " or ".join("(" + ", ".join(map(str, ("K", *shape))) + ")" for shape in shapes)
        raise ValueError(
            f"the {what} must be {'a number' if size == 1 else 'numbers of the shape ' + ' or '.join(map(str, shapes))}, "
            f"or values {wanted} for K positions; at 3 positions it has the shape {found}"
        )

    def __call__(self, x: np.ndarray, t: float) -> np.ndarray:
        """The field at x (..., D), (..., D) or (..., D, D), unchecked."""
        size, points = len(self.names), x.reshape(-1, x.shape[-1])
        found = np.asarray(_call(self.what, self.given, self.in_time, points, t), dtype=np.float64)
        if found.shape not in (self.shape, (len(points), *self.shape)):
            wanted = (len(points), *self.shape)
            raise ValueError(f"the {self.what} has the shape {found.shape} at {len(points)} positions, and not {wanted}")
        values = np.broadcast_to(found, (len(points), *self.shape))
        if len(self.shape) < self.rank and self.rank == 2:  # the noise of each axis, or one for both
            values = np.eye(size) * values.reshape(len(points), -1, 1)
        return values.reshape(*x.shape[:-1], *[size] * self.rank)

    def checked(self, x: np.ndarray, t: float) -> np.ndarray:
        """The same; `ModelError` where a value is no finite number."""
        values = self(x, t)
        if not np.all(np.isfinite(values)):
            *where, _ = np.argwhere(~np.isfinite(values.reshape(*x.shape[:-1], -1)))[0]
            place = describe_state(self.names, x[tuple(where)])
            raise ModelError(
                f"the {self.what} is no finite number at {place}, t = {t:g}, where the diffusion gets to; "
                "keep it away by a wall, for example with domain={" + f"{self.names[0]!r}: (0, inf)" + "}"
            )
        return values


def _call(what: str, given: object, in_time: bool, points: np.ndarray, t: float):
    if not callable(given):
        return np.asarray(given, dtype=np.float64)
    x = points[:, 0] if points.shape[1] == 1 else points
    try:
        with np.errstate(all="ignore"):  # values that are no numbers are refused where they matter, with their place
            return given(x, t) if in_time else given(x)
    except (TypeError, ValueError, IndexError) as error:
        raise ValueError(
            f"the {what} must take an array of positions, shape {x.shape}, and fails on it: {error}; write it with numpy"
        ) from error
