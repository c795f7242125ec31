"""With a thousand paths exact simulation seems to be off by several per cent; the interval tells this noise from an error of the method."""

import cme

network = cme.load("gene_expression")
exact = cme.fsp(network, 2.0)

rows = []
for n_paths in (1000, 10_000, 100_000):
    paths = cme.ssa(network, 2.0, n_paths=n_paths, seed=3)
    diffusion = cme.langevin(network, 2.0, n_paths=n_paths, seed=3)
    table = cme.compare(exact, SSA=paths, CLE=diffusion)
    variation = table[(table.metric == "total_variation") & (table.species == "protein")].set_index("method")
    print(f"{n_paths:7} paths\n{variation[['value', 'lo', 'hi', 'monte_carlo', 'grid']].round(4)}")
    rows.append(variation)

assert all(found.lo["SSA"] == 0 for found in rows), "exact simulation is never told from exact"
assert rows[0].value["SSA"] > 0.02, "although the bare number is not small"
assert rows[-1].lo["CLE"] > 0.05, "while the Langevin equation is found out"
