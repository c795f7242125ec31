"""What a network looks like as a graph, and what follows from that alone: conservation laws, dependencies, deficiency.

Nothing here knows a rate constant, except that the dependency graph asks which species a propensity reads.
"""

from collections.abc import Iterable
from fractions import Fraction
from math import gcd, inf, lcm
from typing import TYPE_CHECKING

import numpy as np

from cme import ratelaw
from cme.elements import Side, write_side
from cme.errors import ModelError
from cme.network import Network

if TYPE_CHECKING:
    import networkx as nx

Row = dict[int, int | Fraction]  # sparse: column -> coefficient, no zeros
Law = dict[int, int]  # species, by place, -> weight
MOST_RAYS, MOST_MERGES = 1000, 50_000


# --------------------------------------------------------------------------------------------------- graphs


def species_reaction_graph(network: Network) -> "nx.DiGraph":
    """Draw the bipartite graph: species point to the reactions that use them, reactions to the species that they make.

    Parameters
    ----------
    network
        Species and reactions are the nodes, under their names.

    Returns
    -------
    networkx.DiGraph
        Nodes have ``kind`` ("species" or "reaction") and ``bipartite`` (0 or 1), species also ``boundary``. Edges have
        ``stoichiometry``; an edge from a species that a propensity reads but the reaction does not consume has
        ``modifier=True`` and stoichiometry 0.

    Raises
    ------
    ModelError
        If a reaction has the name of a species, since both are nodes.

    Examples
    --------
    >>> import cme
    >>> graph = cme.graphs.species_reaction_graph(cme.parse("species R; make: 0 => P @ 5/(1 + R); pair: 2 P -> D @ 1"))
    >>> graph.edges["P", "pair"]["stoichiometry"], graph.edges["R", "make"]["modifier"]
    (2, True)
    """
    import networkx as nx

    graph = nx.DiGraph(name=network.name)
    for species in network.species:
        graph.add_node(species.name, kind="species", bipartite=0, boundary=species.boundary)
    taken = set(network.species_names)
    for reaction, read in zip(network.reactions, _species_read(network), strict=True):
        if reaction.name in taken:
            raise ModelError(f"{reaction.name!r} names a species and a reaction, and both would be nodes of the graph; rename the reaction")
        graph.add_node(reaction.name, kind="reaction", bipartite=1)
        for name, n in reaction.reactants:
            graph.add_edge(name, reaction.name, stoichiometry=n, modifier=False)
        for name in sorted(read - {name for name, _ in reaction.reactants}):
            graph.add_edge(name, reaction.name, stoichiometry=0, modifier=True)
        for name, n in reaction.products:
            graph.add_edge(reaction.name, name, stoichiometry=n, modifier=False)
    return graph


def dependency_graph(network: Network) -> "nx.DiGraph":
    """Draw which propensities must be computed again after a reaction has fired.

    Returns
    -------
    networkx.DiGraph
        Nodes are reaction names; an edge r -> q says that r changes a species that the propensity of q reads (r -> r included).

    References
    ----------
    Gibson and Bruck, J. Phys. Chem. A 104, 1876 (2000), doi:10.1021/jp993732q.

    Examples
    --------
    >>> import cme
    >>> birth_death = cme.parse("birth: 0 -> X @ 1; death: X -> 0 @ 1")
    >>> sorted(cme.graphs.dependency_graph(birth_death).edges)
    [('birth', 'death'), ('death', 'death')]
    """
    import networkx as nx

    graph = nx.DiGraph(name=network.name)
    graph.add_nodes_from(reaction.name for reaction in network.reactions)
    names = network.species_names
    readers: dict[str, list[str]] = {name: [] for name in names}
    for reaction, read in zip(network.reactions, _species_read(network), strict=True):
        for name in read:
            readers[name].append(reaction.name)
    rows, columns = network.changed_species
    for r, s in zip(rows.tolist(), columns.tolist(), strict=True):
        graph.add_edges_from((network.reactions[r].name, reader) for reader in readers[names[s]])
    return graph


def _species_read(network: Network) -> list[set[str]]:
    """The species that each propensity reads, through rules as well."""
    species = set(network.species_names)
    return [ratelaw.names(network.resolve(reaction.propensity)) & species for reaction in network.reactions]


# ---------------------------------------------------------------------------------------- conservation laws


def conservation_laws(network: Network) -> np.ndarray:
    """Find the sums of counts that no reaction changes.

    A law is a vector w with ``stoichiometry @ w = 0``; then ``counts @ w`` keeps its initial value on every path. The laws are an
    exact integer basis of that null space.

    Returns
    -------
    (L, S) int64
        L = S - rank(stoichiometry) independent laws, each without a common factor, ordered by their first species. Each is
        non-negative where that is possible: such a law bounds the species it holds. A species that no reaction changes is a law
        of its own.

    Raises
    ------
    ModelError
        If a coefficient does not fit 64 bits.

    Notes
    -----
    Exact elimination over the rationals on sparse rows (seconds for thousands of species), then the extreme rays of the cone of
    non-negative laws. Their number may be exponential in theory; past 1000 rays, or 50 000 tries, they are given up and the laws of
    the elimination are returned as they are, still exact, some perhaps with negative entries.

    References
    ----------
    Schuster and Höfer, J. Chem. Soc. Faraday Trans. 87, 2561 (1991), doi:10.1039/FT9918702561.

    Examples
    --------
    >>> import cme
    >>> enzyme = cme.parse("E + S <-> C @ 1, 1; C -> E + P @ 1; E = 2; S = 9")
    >>> cme.graphs.conservation_laws(enzyme)
    array([[1, 0, 1, 0],
           [0, 1, 1, 1]])
    """
    laws = _laws(network)
    found = np.zeros((len(laws), len(network.species)), dtype=np.int64)
    for i, law in enumerate(laws):
        found[i, list(law)] = list(law.values())
    return found


def conserved_sums(network: Network) -> list[str]:
    """Write the conservation laws for reading, with the value that the start gives them.

    Examples
    --------
    >>> import cme
    >>> cme.graphs.conserved_sums(cme.parse("E + S <-> C @ 1, 1; C -> E + P @ 1; E = 2; S = 9"))
    ['E + C = 2', 'S + C + P = 9']
    """
    texts, names = [], network.species_names
    for law in _laws(network):
        text = " ".join(f"{'-' if w < 0 else '+'} {'' if abs(w) == 1 else f'{abs(w)} '}{names[s]}" for s, w in sorted(law.items()))
        values = sorted({sum(w * state[s] for s, w in law.items()) for state in network.initial.states})
        value = f"{values[0]:.12g}" if len(values) == 1 else f"between {values[0]:.12g} and {values[-1]:.12g}, as it starts"
        texts.append(f"{text.removeprefix('+ ')} = {value}".replace("= between", "is between"))
    return texts


def independent_species(network: Network) -> list[int]:
    """Choose species whose counts, together with the conserved sums, give all others.

    Returns
    -------
    list of int
        The places of rank(stoichiometry) species, in order.

    Examples
    --------
    >>> import cme
    >>> len(cme.graphs.independent_species(cme.parse("E + S <-> C @ 1, 1; C -> E + P @ 1; E = 2; S = 9")))
    2
    """
    return sorted(_solve_weights(network)[1])


def bounded_species(network: Network) -> set[int]:
    """Find the species that a non-negative conservation law bounds, by place.

    Examples
    --------
    >>> import cme
    >>> sorted(cme.graphs.bounded_species(cme.parse("Off <-> On @ 1, 1; On -> On + M @ 1; M -> 0 @ 1")))
    [0, 1]
    """
    return {s for law in _laws(network) if min(law.values()) > 0 for s in law}


def _laws(network: Network) -> list[Law]:
    """The conservation laws without their zeros."""
    free, solved = _solve_weights(network)
    weights: dict[int, Row] = {f: {f: 1} for f in free}
    for s, row in solved.items():
        for f, weight in row.items():
            weights[f][s] = weight
    laws = [_whole(weights[f]) for f in free]
    rays = sorted(_non_negative_rays(laws, free), key=lambda ray: (len(ray), [(s, -ray[s]) for s in sorted(ray)]))
    chosen = _independent(rays + laws, set(free))
    chosen.sort(key=lambda law: [*sorted(law), inf])
    if any(abs(w) >= 2**63 for law in chosen for w in law.values()):
        raise ModelError(f"a conservation law of {network.name!r} has a coefficient past 64 bits; check the stoichiometry")
    return chosen


def _solve_weights(network: Network) -> tuple[list[int], dict[int, Row]]:
    """Solve ``stoichiometry @ w = 0``: the free species, and each other species' weight as a combination of free ones.

    Each reaction is one equation between weights, for example w_C = w_A + w_B for A + B -> C. An equation is solved for a species
    that stands alone on its side, if there is one: complexes then follow from their parts and the weights stay non-negative.
    """
    n_species = len(network.species)
    solved: dict[int, Row] = {}
    holders: dict[int, set[int]] = {s: set() for s in range(n_species)}  # solved species whose row holds a free one
    for equation in _equations(network):
        row: Row = {}
        for s, n in equation:
            _add(row, solved.get(s, {s: 1}), n)
        if not row:
            continue
        signs = [sum(c > 0 for c in row.values()), sum(c < 0 for c in row.values())]
        pivot = min(row, key=lambda s: (signs[row[s] < 0] != 1, abs(row[s]) != 1, len(holders[s]), -s))
        scale = row.pop(pivot)
        solved[pivot] = {s: _ratio(-c, scale) for s, c in row.items()}
        for s in row:
            holders[s].add(pivot)
        for other in holders.pop(pivot):
            before = set(solved[other]) - {pivot}
            _add(solved[other], solved[pivot], solved[other].pop(pivot))
            for s in before - set(solved[other]):
                holders[s].discard(other)
            for s in set(solved[other]) - before:
                holders[s].add(other)
    return [s for s in range(n_species) if s not in solved], solved


def _equations(network: Network) -> list[tuple[tuple[int, int], ...]]:
    """The different net changes of reactions, the shortest first: species and numbers."""
    changes: dict[int, list[tuple[int, int]]] = {}
    for r, s, n in zip(*(each.tolist() for each in network.sparse_stoichiometry), strict=True):
        changes.setdefault(r, []).append((s, n))
    index = {name: s for s, name in enumerate(network.species_names)}
    steps = set(map(tuple, changes.values()))
    for varying in network.varying.values():  # each number that varies is a change of its own
        for number in range(len(varying.numbers)):
            step: dict[int, int] = {}
            for which, name, factor in varying.terms:
                if which == number:
                    step[index[name]] = step.get(index[name], 0) + factor
            steps.add(tuple(sorted((s, n) for s, n in step.items() if n)))
    return sorted(steps, key=lambda terms: (len(terms), terms))


def _add(row: Row, other: Row, factor: int | Fraction) -> None:
    for s, c in other.items():
        total = row.get(s, 0) + c * factor
        if total:
            row[s] = total
        else:
            row.pop(s, None)


def _ratio(a: int | Fraction, b: int | Fraction) -> int | Fraction:
    value = Fraction(a) / b
    return value.numerator if value.denominator == 1 else value


def _whole(weights: Row) -> Law:
    """Clear denominators and common factors."""
    denominator = lcm(*(w.denominator for w in weights.values()))
    return _reduced({s: int(w * denominator) for s, w in weights.items()})


def _reduced(law: Law) -> Law:
    common = gcd(*law.values())
    return law if common == 1 else {s: w // common for s, w in law.items()}


def _non_negative_rays(laws: list[Law], free: list[int]) -> list[Law]:
    """The extreme rays of the non-negative combinations of laws; [] where there are more than `MOST_RAYS` or finding them takes long.

    Law i alone holds the i-th free species, so the cone starts as all non-negative combinations of the laws; each further
    species then cuts off what is negative there (double description). Species where no law is negative cut nothing off.
    """
    columns: dict[int, list[tuple[int, int]]] = {}
    for i, law in enumerate(laws):
        for s, weight in law.items():
            columns.setdefault(s, []).append((i, weight))
    cutting = {s: column for s, column in columns.items() if any(weight < 0 for _, weight in column)}
    distinct = {tuple(column): s for s, column in cutting.items()}  # species with equal weights cut alike
    bits = {f: 1 << i for i, f in enumerate(free)}
    rays, merges = list(laws), 0
    for s in sorted(distinct.values()):
        bits[s] = 1 << len(bits)
        below = [ray for ray in rays if ray.get(s, 0) < 0]
        if not below:
            continue
        above, kept = [ray for ray in rays if ray.get(s, 0) > 0], [ray for ray in rays if ray.get(s, 0) >= 0]
        merges += len(above) * len(below)
        if merges > MOST_MERGES:
            return []
        rays = _of_smallest_support(kept + [_merged(a, b, s) for a in above for b in below], bits)
        if len(rays) > MOST_RAYS:
            return []
    return rays


def _merged(above: Law, below: Law, s: int) -> Law:
    """The combination of two laws that vanishes at a species."""
    total = {each: -below[s] * w for each, w in above.items()}
    for each, w in below.items():
        total[each] = total.get(each, 0) + above[s] * w
    return _reduced({each: w for each, w in total.items() if w})


def _of_smallest_support(rays: list[Law], bits: dict[int, int]) -> list[Law]:
    """Those whose support among the species that have cut holds no other's: the extreme ones."""
    masks = {sum(bits.get(s, 0) for s in ray): ray for ray in rays}
    smallest: list[int] = []
    for mask in sorted(masks, key=int.bit_count):
        if not any(other & mask == other for other in smallest):
            smallest.append(mask)
    return [masks[mask] for mask in smallest]


def _independent(laws: Iterable[Law], free: set[int]) -> list[Law]:
    """The first laws that are linearly independent; the free species alone decide."""
    chosen: list[Law] = []
    solved: dict[int, Row] = {}
    for law in laws:
        row: Row = {s: law[s] for s in sorted(free & law.keys())}
        while (pivot := next((s for s in row if s in solved), None)) is not None:
            _add(row, solved[pivot], -row[pivot])
        if row:
            pivot = next(iter(row))
            solved[pivot] = {s: _ratio(c, row[pivot]) for s, c in row.items()}
            chosen.append(law)
    return chosen


# ------------------------------------------------------------------------------------------------ complexes


def complexes(network: Network) -> list[str]:
    """List the complexes: the distinct sides of the reactions, such as "2 X" or "0".

    Boundary species are left out, since their counts are constants.

    Examples
    --------
    >>> import cme
    >>> cme.graphs.complexes(cme.parse("2 X <-> 3 X @ 1, 1; 0 <-> X @ 1, 1"))
    ['2 X', '3 X', '0', 'X']
    """
    return list(_complex_graph(network))


def linkage_classes(network: Network) -> list[list[str]]:
    """List the connected groups of complexes.

    Examples
    --------
    >>> import cme
    >>> cme.graphs.linkage_classes(cme.parse("2 X <-> 3 X @ 1, 1; 0 <-> X @ 1, 1"))
    [['2 X', '3 X'], ['0', 'X']]
    """
    import networkx as nx

    graph = _complex_graph(network)
    order = {name: i for i, name in enumerate(graph)}
    return [sorted(group, key=order.__getitem__) for group in nx.weakly_connected_components(graph)]


def is_weakly_reversible(network: Network) -> bool:
    """Tell whether each complex can be turned back: every linkage class is strongly connected.

    Examples
    --------
    >>> import cme
    >>> cme.graphs.is_weakly_reversible(cme.parse("A -> 2 B @ 1; 2 B -> C @ 1; C -> A @ 1"))
    True
    """
    import networkx as nx

    graph = _complex_graph(network)
    return nx.number_weakly_connected_components(graph) == nx.number_strongly_connected_components(graph)


def deficiency(network: Network) -> int:
    """Compute the deficiency: complexes - linkage classes - rank of the stoichiometry.

    A weakly reversible network of deficiency 0 with mass-action laws has a product-form (Poisson) stationary law
    on each of its classes (theorem 4.1 of Anderson, Craciun and Kurtz). The number looks at the reactions alone, whatever their laws.

    References
    ----------
    Anderson, Craciun and Kurtz, Bull. Math. Biol. 72, 1947 (2010), doi:10.1007/s11538-010-9517-4.

    Examples
    --------
    >>> import cme
    >>> cme.graphs.deficiency(cme.parse("A -> 2 B @ 1; 2 B -> C @ 1; C -> A @ 1"))
    0
    >>> cme.graphs.deficiency(cme.parse("2 X <-> 3 X @ 1, 1; 0 <-> X @ 1, 1"))  # Schloegl: 4 - 2 - 1
    1
    """
    rank = len(_solve_weights(network)[1])
    return len(complexes(network)) - len(linkage_classes(network)) - rank


def _complex_graph(network: Network) -> "nx.DiGraph":
    import networkx as nx

    graph = nx.DiGraph()
    order = {species.name: i for i, species in enumerate(network.species) if not species.boundary}

    def written(side: Side) -> str:
        return write_side(tuple(sorted((term for term in side if term[0] in order), key=lambda term: order[term[0]])))

    for reaction in network.reactions:
        graph.add_edge(written(reaction.reactants), written(reaction.products))
    return graph
