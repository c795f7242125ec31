"""From a random walk to the Fokker-Planck equation, and from there to Schrödinger's, with the numbers that the essay only states: what
converges, how fast, and three ways to solve one equation by walking. (1) to (21) are the essay's equations.
"""

import numpy as np

import cme

print("free walk, alpha = 2, t = 1.5: (2) cos(w ds)^n against (6) exp(-w^2 alpha t / 2) at w = 1.3; density against (7); dt falls fourfold")
for n in (10, 40, 160, 640):
    walk = cme.RandomWalk(drift=0.0, alpha=2.0, ds=np.sqrt(2 * 1.5 / n))
    law = walk.law(1.5, tol=0)
    transform = abs(walk.characteristic_function(1.3, 1.5) - np.exp(-(1.3**2) * 1.5))
    normal = np.exp(-(law.states[:, 0] ** 2) / 6) / np.sqrt(6 * np.pi)
    distance = np.abs(law.p[0] / (2 * walk.ds) - normal).max()  # every second site: a cell is 2 ds wide
    print(f"     n = {n:<4} {transform:.2e}   {distance:.2e}")
print("other scalings, ds = dt^g: the characteristic function at w = t = 1 for dt = 1e-2 .. 1e-5 has the limit 0 or 1")
for g in (0.4, 0.5, 0.6):
    walks = [cme.RandomWalk(0.0, dt ** (2 * g - 1), dt**g) for dt in (1e-2, 1e-3, 1e-4, 1e-5)]
    print(f"     g = {g}  ", " ".join(f"{abs(walk.characteristic_function(1.0, 1.0)):.4f}" for walk in walks))

print("biased walks (8) against (12) at t = 1, total variation on cells of width 2 ds; [lo, hi] holds what the grid of (12) may add")
drifts = {"-x": (lambda x: -x, 0.7), "tanh x": (lambda x: np.tanh(x), 0.0), "sin 2x - x": (lambda x: np.sin(2 * x) - x, 0.5)}
rows = {}
for name, (p, start) in drifts.items():
    form = cme.SchrodingerForm(p, alpha=1.0, domain=(start - 7, start + 7))
    density = form.law(1.0, start=start, n_cells=700)  # P = xi phi, by the eigenfunctions of (19)
    for ds in (0.2, 0.1, 0.05):
        table = cme.compare(cme.RandomWalk(p, 1.0, ds).law(1.0, start=start), FP=density)
        row = rows[name, ds] = table[table.metric == "total_variation"].iloc[0]
        print(f"     p = {name:<10} ds = {ds:<5} {row.value:.2e}  [{row.lo:.2e}, {row.hi:.2e}]")

print("     the same for p = -x if the limit's mass of a cell is its density in the middle times 2 ds, and not its integral over the cell:")
for ds in (0.2, 0.1, 0.05):
    law, twice = cme.RandomWalk(lambda x: -x, 1.0, ds).law(1.0, start=0.7), 1 - np.exp(-2)  # twice the variance
    limit = 2 * ds * np.exp(-((law.states[:, 0] - 0.7 * np.exp(-1)) ** 2) / twice) / np.sqrt(np.pi * twice)
    print(f"     p = -x         ds = {ds:<5} {(np.abs(law.p[0] - limit).sum() + abs(1 - limit.sum())) / 2:.2e}")

well = cme.SchrodingerForm(lambda x: -x, alpha=1.0, domain=(-7, 7))
print("(20) p = -x is a harmonic oscillator: V(0), V(1), V(2) =", well.V(np.arange(3.0)).round(6) + 0.0, end="; ")
print("eigenvalues", well.spectrum(5, n_cells=1000).values.round(3) + 0.0)
print("(19) by walking, p = -x from 0.7 to t = 1, ds = 0.1: the integral of P = xi phi is kept, that of phi is not")
ways = {}
for method in ("sum", "biased", "weights", "branching"):
    options = {} if method == "sum" else {"n_paths": 100_000, "seed": 1}
    ways[method] = found = cme.feynman_kac(well, 1.0, ds=0.1, start=0.7, method=method, **options)
    at = int(np.argmin(np.abs(found.x - 0.3)))
    numbers = (found.mass, found.mass_error, found.relative_mass, found.relative_mass_error, found.effective_paths)
    print(f"     {method:<10} phi(0.3) = {found.phi[0, at]:.4f} +- {found.phi_error[0, at]:.4f}", end="")
    print("   P: {:.4f} +- {:.4f}   phi: {:.4f} +- {:.4f}   as good as {:.0f} paths".format(*(values[0] for values in numbers)))

jump = cme.RandomWalk(drift=2.0, alpha=2.0, ds=1.0).generator(0, 20)  # in continuous time, with p = alpha = a and ds = 1
reaction = cme.parse("0 -> x @ 2")
reacting = cme.Generator.from_network(reaction, cme.StateSpace.reachable(reaction, bounds={"x": 20}))
print("p = alpha = a, ds = 1 is the reaction 0 -> x:", np.array_equal(jump.matrix.toarray(), reacting.matrix.toarray()))

assert all(3.5 < rows[name, 0.1].value / rows[name, 0.05].value < 4.5 for name in drifts)  # of order ds^2, that is, dt
assert abs(ways["weights"].relative_mass - ways["sum"].relative_mass)[0] < 5 * ways["weights"].relative_mass_error[0]
assert abs(ways["biased"].mass[0] - 1) < 1e-12 < abs(ways["sum"].mass[0] - 1)
