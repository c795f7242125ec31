"""The reactions that can fire, prepared for the exact engines: tables for laws of one species, lists of what depends on what."""

from collections import defaultdict

import numpy as np

from cme import ratelaw
from cme.compiled import Compiled, falling_product, pack_varying
from cme.kernels.direct import Dependents
from cme.kernels.lanes import Plan
from cme.kernels.propensity import LOAD, NO_LAW, Channels, fill_tables
from cme.kernels.rejection import OTHER, WIDE, WIDE_PAIR, Readers
from cme.programs import csr, to_program
from cme.ratelaw import Expr

_FACTORS = 3  # of mass action; more make a program
_TABLE = 4096  # entries of a table, where counts don't start higher
_ALL_TABLES = 2**17  # entries of all tables: to fill them takes some 10 ms
_FEW = 8  # up to this many reactions all propensities are computed anew after each event: loops of one length are predicted
_SHORT = 4  # up to this many changes of a reaction, the lists of all are filled up to one length, for the same reason
_FEW_CHANGES = 32  # up to so many, lanes make them under masks


def prepare_channels(compiled: Compiled, starts: np.ndarray, stop: Expr | None = None) -> tuple[Channels, np.ndarray]:
    """The channels of the reactions that can fire from the starts (K, S), and the numbers that these have in the network."""
    index = {name: i for i, name in enumerate(compiled.network.species_names)}
    mass_action, constant, n_factors, factor_species, factor_offset = _products(compiled, index)
    kept, fixed = _that_can_fire(compiled, mass_action, constant, factor_species, factor_offset, starts)
    law = np.full(len(kept), NO_LAW)
    laws: dict[Expr, int] = {}
    for r in np.flatnonzero(~mass_action[kept]):
        law[r] = laws.setdefault(compiled.propensity_formulas[kept[r]], len(laws))
    programs = [to_program(formula, index) for formula in (*laws, *([] if stop is None else [stop]))]
    program_pointer, code = csr([program for program, _ in programs])
    table_species, table_pointer = _tables(list(laws), index, fixed, starts)
    change_pointer, change_species, change_amount = _changes(compiled, kept)
    varying = pack_varying(compiled.network, kept.tolist())
    channels = Channels(
        constant=constant[kept],
        law=law,
        n_factors=n_factors[kept],
        factor_species=factor_species[kept].astype(np.uint32),
        factor_offset=factor_offset[kept],
        change_pointer=change_pointer,
        change_species=change_species,
        change_amount=change_amount,
        table_species=table_species,
        table_pointer=table_pointer,
        table=np.zeros(table_pointer[-1]),
        program_pointer=program_pointer,
        opcode=code[:, 0].astype(np.uint32),
        operand=code[:, 1].astype(np.float64),
        stack_size=max([1, *(depth for _, depth in programs), 1 if varying is None else varying.stack_size]),
        stop=NO_LAW if stop is None else len(laws),
        varying=varying,
    )
    if len(channels.table):
        fill_tables(channels, np.append(starts[0], 1).astype(np.float64), np.zeros(channels.stack_size))
    return channels, kept


def _products(compiled: Compiled, index: dict[str, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Which reactions have products of few factors as their propensity (R,); constants, numbers of factors, species and offsets (R, 3)."""
    n_reactions = len(compiled.propensity_formulas)
    constant, factors = [1.0] * n_reactions, [[(len(index), 0.0)] * _FACTORS for _ in range(n_reactions)]
    mass_action, n_factors = np.zeros(n_reactions, dtype=bool), np.zeros(n_reactions, dtype=np.int64)
    for r, formula in enumerate(compiled.propensity_formulas):
        product = falling_product(formula, index)
        if product is not None and len(product[1]) <= _FACTORS:
            constant[r], mass_action[r], n_factors[r] = product[0], True, len(product[1])
            factors[r][: len(product[1])] = product[1]
    table = np.array(factors, dtype=np.float64).reshape(n_reactions, _FACTORS, 2)
    return mass_action, np.array(constant), n_factors, table[..., 0].astype(np.int64), np.ascontiguousarray(table[..., 1])


def _that_can_fire(
    compiled: Compiled, mass_action: np.ndarray, constant: np.ndarray, species: np.ndarray, offset: np.ndarray, starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The reactions that may fire some day, and whether a species stays for good at what it is in every start (S,).

    Left out is only mass action, with a constant or a factor that is zero whatever happens: its reactant is not there and nothing makes it.
    """
    rows, columns = compiled.network.changed_species
    fixed, count = np.append((starts == starts[0]).all(axis=0), False), np.append(starts[0], 1)
    zero = mass_action[:, None] & fixed[species] & (count[species] == offset)
    missing = zero.sum(axis=1) + (mass_action & (constant == 0.0))  # what has to move before a reaction can fire; a constant never does
    waiting, changed = defaultdict(list), defaultdict(list)
    for r, place in zip(*(each.tolist() for each in np.nonzero(zero)), strict=True):
        waiting[int(species[r, place])].append(r)
    idle = missing[rows] > 0
    for r, s in zip(rows[idle].tolist(), columns[idle].tolist(), strict=True):
        changed[r].append(s)
    moving = columns[~idle].tolist()
    while moving:
        s = moving.pop()
        if fixed[s]:
            fixed[s] = False
            for r in waiting[s]:
                missing[r] -= 1
                if missing[r] == 0:
                    moving += changed[r]
    return np.flatnonzero(missing == 0), fixed[:-1]


def _tables(laws: list[Expr], index: dict[str, int], fixed: np.ndarray, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The species that each law reads (L,), and where its table begins (L + 1,); no table if it reads several that move."""
    moving = [[index[name] for name in ratelaw.names(law) if not fixed[index[name]]] for law in laws]
    share = _ALL_TABLES // max(1, sum(len(row) == 1 for row in moving))
    species, sizes = np.full(len(laws), len(index), dtype=np.uint32), np.zeros(len(laws), dtype=np.int64)
    for i, row in enumerate(moving):
        if len(row) == 0:
            sizes[i] = 2  # of the count that is always 1
        elif len(row) == 1:
            species[i], sizes[i] = row[0], min(max(_TABLE, 4 * starts[:, row[0]].max()), share)
    return species, np.append(0, np.cumsum(sizes)).astype(np.uint64)


def _changes(compiled: Compiled, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Net changes in CSR form: pointer, species, amounts."""
    rows, columns, amounts = compiled.network.sparse_stoichiometry
    number = np.full(len(compiled.network.reactions), -1)
    number[kept] = np.arange(len(kept))
    chosen = number[rows] >= 0
    rows, columns, amounts = number[rows[chosen]], columns[chosen], amounts[chosen]
    lengths = np.bincount(rows, minlength=len(kept))
    pointer, longest = np.append(0, np.cumsum(lengths)), lengths.max(initial=0)
    if longest <= _SHORT:
        species = np.full((len(kept), longest), len(compiled.network.species))
        amount = np.zeros((len(kept), longest), dtype=np.int64)
        place = np.arange(len(rows)) - pointer[rows]
        species[rows, place], amount[rows, place] = columns, amounts
        pointer, columns, amounts = np.arange(len(kept) + 1) * longest, species.ravel(), amount.ravel()
    return pointer.astype(np.uint32), columns.astype(np.uint32), np.ascontiguousarray(amounts)


def prepare_dependents(channels: Channels) -> Dependents:
    """For each reaction, those whose propensity reads a species that it changes; for few reactions, all but those that run a program."""
    n_reactions = len(channels.constant)
    readers = [row.tolist() for row in species_readers(channels)]
    always = []
    if n_reactions <= _FEW:
        tabled = np.diff(channels.table_pointer.astype(np.int64)) > 0
        always = [r for r, law in enumerate(channels.law) if law == NO_LAW or tabled[law]]
    pointer = channels.change_pointer.tolist()
    changed = np.where(channels.change_amount != 0, channels.change_species, len(readers)).tolist()
    rows = []
    for r in range(n_reactions):
        species = {*changed[pointer[r] : pointer[r + 1]], *drawn_species(channels, r)}
        rows.append(sorted({*always, *(j for s in species if s < len(readers) for j in readers[s])}))
    lengths = np.append(0, np.cumsum([len(row) for row in rows], dtype=np.int64))
    flat = np.array([j for row in rows for j in row], dtype=np.int64)
    first = np.array([row[0] if len(row) else n_reactions for row in rows], dtype=np.int64)
    everything = bool(len(always) == n_reactions <= _FEW)
    return Dependents(lengths.astype(np.uint32), flat.astype(np.uint32), first, everything)


def drawn_species(channels: Channels, r: int) -> set[int]:
    """The species of which reaction r does not change the same number each time."""
    varying = channels.varying
    if varying is None:
        return set()
    first, stop = varying.term_pointer[varying.number_pointer[[r, r + 1]]]
    return set(varying.term_species[first:stop].tolist())


def prepare_lanes(channels: Channels, n_species: int) -> Plan:
    """What lanes need to know: where they have to watch for what a product of counts can't do."""
    sizes = np.diff(channels.table_pointer.astype(np.int64))
    tables = np.split(channels.table, channels.table_pointer[1:-1].astype(np.int64)) if len(sizes) else []
    doubtful = np.array([len(table) == 0 or not (table >= 0).all() for table in tables])
    watched, depleted = [], set()
    for r, (law, species, offset) in enumerate(zip(channels.law, channels.factor_species, channels.factor_offset, strict=True)):
        needed = np.zeros(n_species + 1)  # molecules without which the propensity is zero
        for s in species[species < n_species]:
            needed[s] += 1
        falling = all(sorted(offset[species == s]) == list(range(int(needed[s]))) for s in set(species) - {n_species})
        watched.append(not falling or (doubtful[law] if law != NO_LAW else channels.constant[r] < 0))
        changes = slice(channels.change_pointer[r], channels.change_pointer[r + 1])
        for s, amount in zip(channels.change_species[changes], channels.change_amount[changes], strict=True):
            if s < n_species and amount < 0 and not (falling and needed[s] >= -amount):
                depleted.add(int(s))
    strides = bool(np.abs(channels.change_amount).max(initial=0) >= 2**40)
    few = int(np.count_nonzero(channels.change_amount)) <= _FEW_CHANGES
    return Plan(np.array(watched, dtype=np.int64), np.array(sorted(depleted), dtype=np.int64), few, strides)


def species_readers(channels: Channels) -> list[np.ndarray]:
    """For each species, the reactions whose propensity reads it, in order."""
    pointer, reads = channels.program_pointer, channels.opcode == LOAD
    n_species = int(
        max(channels.change_species.max(initial=0), channels.factor_species.max(initial=0), channels.operand[reads].max(initial=0))
    )
    rows: list[list[int]] = [[] for _ in range(n_species + 1)]
    for r, (law, species) in enumerate(zip(channels.law.tolist(), channels.factor_species.tolist(), strict=True)):
        if law != NO_LAW:
            inside = slice(pointer[law], pointer[law + 1])
            species = [*species, *channels.operand[inside][reads[inside]].astype(np.int64).tolist()]
        for s in set(species):
            rows[s].append(r)
    return [np.array(row, dtype=np.int64) for row in rows]


def coupling(channels: Channels) -> float:
    """How many propensities an event changes, the mean over the reactions; one that reads several changed species counts several times."""
    readers = species_readers(channels)
    changed = channels.change_species[channels.change_amount != 0]
    return sum(len(readers[s]) for s in changed.tolist()) / max(1, len(channels.constant))


def prepare_readers(channels: Channels, n_species: int) -> Readers:
    """For each species, the reactions whose bounds depend on it."""
    one, two = channels.factor_species[:, 0].astype(np.int64), channels.factor_species[:, 1].astype(np.int64)
    offset = channels.factor_offset
    pair = (one == two) & (one < n_species)
    wide = (channels.law == NO_LAW) & (channels.constant >= 0) & (channels.factor_species[:, 2] == n_species)
    wide &= (offset[:, 0] == 0) & (offset[:, 1] == pair) & (offset[:, 2] == 0)
    kind = np.where(wide, np.where(pair, WIDE_PAIR, WIDE), OTHER).astype(np.uint8)

    first, second = np.flatnonzero(wide & (one < n_species)), np.flatnonzero((kind == WIDE) & (two < n_species))
    reaction, species, partner = np.append(first, second), np.append(one[first], two[second]), np.append(two[first], one[second])
    order = np.lexsort((reaction, species))
    reaction, species, partner = reaction[order], species[order], partner[order]

    rows = [row[kind[row] == OTHER] for row in species_readers(channels)[:n_species]]
    lengths = np.zeros(n_species + 2, dtype=np.int64)
    lengths[1 : len(rows) + 1] = [len(row) for row in rows]
    return Readers(
        kind=kind,
        wide_pointer=np.searchsorted(species, np.arange(n_species + 2)).astype(np.uint32),
        wide=reaction.astype(np.uint32),
        constant=channels.constant[reaction],
        partner=partner.astype(np.uint32),
        other_pointer=np.cumsum(lengths).astype(np.uint32),
        other=np.concatenate([np.zeros(0, dtype=np.int64), *rows]).astype(np.uint32),
    )
