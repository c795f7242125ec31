"""Complex balance: whether rate constants feed every complex as fast as they use it up, and at which amounts."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from cme.abilities import features
from cme.compiled import falling_product, starting_states
from cme.errors import ModelError
from cme.infix import shorten, to_infix
from cme.network import Network
from cme.ratelaw import Number

BALANCED = 1e-12  # what the logarithms of rate constants may miss balance by, relatively: rounding of the numbers in a model


@dataclass(frozen=True)
class Kinetics:
    """A mass-action network as its laws have it: reaction r goes at ``constant[r]`` times the falling factorial powers of its source.

    Attributes
    ----------
    live : (S,) of bool
        Species that reactions change. The others have constant counts, which are part of the constants.
    sources, changes : (R, S)
        Molecules in the source complex, and net changes. Reactions that can never fire are left out.
    constant : (R,)
        Rate constants in the convention of falling factorials: k x (x - 1), without 1/2, for 2 X.
    """

    live: np.ndarray
    sources: np.ndarray
    changes: np.ndarray
    constant: np.ndarray


@dataclass(frozen=True)
class ComplexBalance:
    """Amounts at which every complex is made as fast as it is used up.

    Attributes
    ----------
    kinetics
        What was read from the laws.
    log_amounts : (S,)
        Logarithms of such amounts, 0 for species whose counts are constant.
    deficiency
        Of the network as its laws have it.
    defect
        The largest logarithm by which a rate constant would have to change for exact balance; round-off.
    """

    kinetics: Kinetics
    log_amounts: np.ndarray
    deficiency: int
    defect: float


def complex_balance(network: Network, initial=None) -> ComplexBalance:
    """Find amounts that balance every complex of a mass-action network.

    Parameters
    ----------
    network
        Complexes are read from the propensities: c X (X - 1)/2 is a law of 2 X, whatever the arrow shows. Species whose counts never
        change are part of the rate constants, and so is their start.
    initial
        Another start than the network's own.

    Returns
    -------
    ComplexBalance
        Its amounts are one solution; the others differ by what the conservation laws leave free.

    Raises
    ------
    ModelError
        If the laws are no mass action, the network is not weakly reversible, or the rate constants of a network of deficiency 1 or more
        do not balance (to a relative 1e-12): the message says which.

    Notes
    -----
    In each linkage class the constants K_y of the matrix-tree theorem, found by elimination without subtraction, are the only way to
    balance its complexes y; amounts c balance all if c^y / K_y is the same throughout each class, a linear system for log c. It always
    has a solution at deficiency 0; beyond, whether it has one decides.

    References
    ----------
    F. Horn and R. Jackson, Arch. Ration. Mech. Anal. 47, 81 (1972), doi:10.1007/BF00251225. M. Feinberg, Chem. Eng. Sci. 42, 2229 (1987),
    doi:10.1016/0009-2509(87)80099-4.

    Examples
    --------
    >>> import cme, numpy as np
    >>> from cme.complex_balance import complex_balance
    >>> np.exp(complex_balance(cme.parse("0 -> X @ 6; X -> 0 @ 2")).log_amounts).round(12).tolist()
    [3.0]
    """
    kinetics = read_kinetics(network, initial)
    names = np.array(network.species_names)
    if not len(kinetics.constant):
        raise ModelError(f"no reaction of {network.name!r} can ever fire")
    rows = np.concatenate([kinetics.sources, kinetics.sources + kinetics.changes])
    complexes, place = np.unique(rows, axis=0, return_inverse=True)
    source, product = np.split(place.ravel(), 2)
    rates = coo_array((kinetics.constant, (product, source)), shape=(len(complexes),) * 2).tocsc()
    n_classes, linkage = connected_components(rates, directed=True, connection="weak")
    n_strong, strong = connected_components(rates, directed=True, connection="strong")
    if n_strong > n_classes:
        r = int(np.flatnonzero(strong[source] != strong[product])[0])
        one, other = (_written(names, complexes[each[r]]) for each in (source, product))
        raise ModelError(f"{network.name!r} is not weakly reversible: nothing leads from {other} back to {one}")
    equations, right = list[np.ndarray](), list[float]()
    for each in range(n_classes):
        members = np.flatnonzero(linkage == each)
        logs = np.log(_tree_constants(rates[members][:, members].toarray()))
        equations += list((complexes[members[1:]] - complexes[members[0]])[:, kinetics.live])
        right += list(logs[1:] - logs[0])
    matrix, wanted = np.array(equations, dtype=np.float64), np.array(right)
    found = np.linalg.lstsq(matrix, wanted)[0]
    found += np.linalg.lstsq(matrix, wanted - matrix @ found)[0]
    defect = float(np.abs(matrix @ found - wanted).max())
    deficiency = len(matrix) - int(np.linalg.matrix_rank(matrix))
    if deficiency and not defect <= BALANCED * (1 + float(np.abs(wanted).max())):
        raise ModelError(
            f"{network.name!r} has deficiency {deficiency}, and its rate constants do not balance its complexes: "
            f"the best amounts miss by a factor of {np.exp(min(defect, 700)):.6g}"
        )
    amounts = np.zeros(len(names))
    amounts[kinetics.live] = found
    return ComplexBalance(kinetics, amounts, deficiency, defect)


def _tree_constants(rates: np.ndarray) -> np.ndarray:
    """The null vector of the Laplacian of a strongly connected graph, ``rates[i, j]`` from j to i, in relative terms (sums to one).

    Elimination without subtraction (Grassmann, Taksar and Heyman).
    """
    rates = rates.copy()
    n = len(rates)
    out = np.zeros(n)
    for last in range(n - 1, 0, -1):
        out[last] = rates[:last, last].sum()
        rates[:last, :last] += np.outer(rates[:last, last] / out[last], rates[last, :last])
    found = np.ones(n)
    for i in range(1, n):
        found[i] = rates[i, :i] @ found[:i] / out[i]
        found[: i + 1] /= found[: i + 1].max()
    return found / found.sum()


def read_kinetics(network: Network, initial=None) -> Kinetics:
    """Read a network as mass action from its propensities.

    Raises
    ------
    ModelError
        If a propensity is no constant times falling factorials, or can be above zero where molecules are missing.
    """
    for feature in features(network):
        raise ModelError(f"{network.name!r} is no network with constant rates and constant stoichiometry: {feature}")
    starts, _ = starting_states(network, initial)
    n_species = len(network.species)
    index = {name: s for s, name in enumerate(network.species_names)}
    live = np.zeros(n_species, dtype=bool)
    live[network.changed_species[1]] = True
    sources, changes, constants = list[np.ndarray](), list[np.ndarray](), list[float]()
    for reaction, change in zip(network.reactions, network.stoichiometry, strict=True):
        law = network.resolve(reaction.propensity)
        if law == Number(0.0) or not change.any():
            continue
        product = falling_product(law, index)
        offsets: dict[int, list[float]] = {}
        constant = product[0] if product else np.nan
        for s, offset in product[1] if product else ():
            if live[s]:
                offsets.setdefault(s, []).append(offset)
                continue
            values = np.unique(starts[:, s])
            if len(values) > 1:
                raise ModelError(f"{network.species_names[s]!r}, whose count never changes, has several at the start")
            constant *= values[0] - offset
        source = np.zeros(n_species, dtype=np.int64)
        for s, each in offsets.items():
            source[s] = len(each)
        falling = all(sorted(each) == list(range(len(each))) for each in offsets.values())
        if not (np.isfinite(constant) and constant >= 0 and falling and np.all(source + change >= 0)):
            text = shorten(to_infix(law), 80)
            raise ModelError(f"the propensity {text} of reaction {reaction.name!r} is no mass action of what the reaction takes")
        if constant > 0:
            sources.append(source)
            changes.append(change)
            constants.append(constant)
    empty = np.zeros((0, n_species), dtype=np.int64)
    whole = Kinetics(live, np.array(sources or empty), np.array(changes or empty), np.array(constants))
    return _that_can_fire(whole, starts)


def _that_can_fire(kinetics: Kinetics, starts: np.ndarray) -> Kinetics:
    """Without reactions whose species can never all be there, and with the species as changing that are left."""
    present = starts.max(axis=0) > 0
    while True:
        fires = np.all(present | (kinetics.sources == 0), axis=1)
        more = present | np.any(kinetics.changes[fires] > 0, axis=0)
        if np.array_equal(more, present):
            break
        present = more
    sources, changes, constant = kinetics.sources[fires].copy(), kinetics.changes[fires], kinetics.constant[fires].copy()
    live = np.any(changes != 0, axis=0)
    for s in np.flatnonzero(np.any(sources > 0, axis=0) & ~live):  # what alone would change it can never fire
        if np.ptp(starts[:, s]):
            raise ModelError("a species whose count never changes has several at the start")
        for r in np.flatnonzero(sources[:, s]):
            constant[r] *= np.prod(starts[0, s] - np.arange(sources[r, s]), dtype=np.float64)
        sources[:, s] = 0
    fires = constant > 0
    return Kinetics(live, sources[fires], changes[fires], constant[fires])


def _written(names: np.ndarray, complex_: np.ndarray) -> str:
    return " + ".join(f"{'' if n == 1 else f'{n} '}{name}" for name, n in zip(names, complex_, strict=True) if n) or "0"
