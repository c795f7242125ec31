"""Conservation laws are found from the reactions, and every path keeps them: an enzyme is free or bound, never lost."""

import numpy as np

import cme

enzyme = cme.parse("""
    bind:    E + S -> C     @ 0.01
    unbind:  C     -> E + S @ 0.1
    convert: C     -> E + P @ 0.5
    E = 10;  S = 100
""")
print("\n".join(cme.graphs.conserved_sums(enzyme)))

laws = cme.graphs.conservation_laws(enzyme)
paths = cme.ssa(enzyme, np.linspace(0, 50, 11), n_paths=200, seed=1)
totals = paths.counts @ laws.T

space = cme.StateSpace.reachable(enzyme)
print(f"{len(space)} states can be reached, of {11 * 101 * 11 * 101} in the box")

assert cme.graphs.conserved_sums(enzyme) == ["E + C = 10", "S + C + P = 100"]
assert (totals == [10, 100]).all()
assert len(space) == sum(101 - bound for bound in range(11)), "one state for each number of bound enzymes and of products"
