"""From a Markov process to the master equation, with numbers: any jump rates W give an equation that conserves probability, and each
approximation along the way has the size it should. A companion to the essay; (1) to (11) are its equations.
"""

import numpy as np

import cme

W = np.array([[0.0, 2.0, 0.5], [1.0, 0.0, 1.5], [0.3, 0.7, 0.0]])  # W[x, y]: rate of jumping from y to x
A = cme.Generator.from_rates(W)  # (10): W(x, y) less what leaves y
p = np.array([0.7, 0.2, 0.1])

print("(1)  p(t) = P(t, 0) p(0), and (7) columns of P sum to 1")
P = cme.propagator(A, 1.0)
print("     p(1) =", (P @ p).round(6), "  column sums - 1:", np.abs(P.sum(axis=0) - 1).max())

print("(3)  (P - I)/eps - W~ halves with eps; (5) what first order leaves out of p falls fourfold")
for eps in (1e-2, 5e-3, 2.5e-3):
    step = cme.propagator(A, eps)
    rate = np.abs((step - np.eye(3)) / eps - A.matrix.toarray()).max()
    print(f"     eps = {eps:<7} {rate:.2e}   {np.abs(step @ p - p - eps * (A @ p)).sum():.2e}")

print("(8)  columns of W~ sum to 0; (11) gain minus loss is the same thing:", np.abs(A @ p - A.gain_loss(p)).max())

shifted = cme.Generator.from_rates(W + np.diag([9.0, -4.0, 1.0]))
print("gauge: changing the diagonal of W changes A by", np.abs((A.matrix - shifted.matrix).toarray()).max())

driven = cme.Generator.from_rates(lambda t: W * (1 + np.sin(t)) + 0.5 * np.roll(W, 1, axis=0) * t)
U = cme.propagator(driven, 2.0, tol=1e-8)
frozen = cme.propagator(driven.at(0.0), 2.0)
halves = cme.propagator(driven, 2.0, 0.9, tol=1e-8) @ cme.propagator(driven, 0.9, tol=1e-8)
print(
    f"W(t): U(2, 0) is not exp(2 A(0)): {np.abs(U - frozen).max():.3f}; but U(2, .9) U(.9, 0) = U(2, 0) to {np.abs(U - halves).max():.0e}"
)

kernel = cme.Generator.from_kernel(lambda x, y: np.exp(-np.abs(x - y)), np.linspace(0, 1, 41))
print(f"W(x, y) on a continuum: 40 cells, quadrature error {kernel.quadrature_error.max():.1e}, a1(0) = {kernel.jump_moments(1)[0, 0]:.4f}")

energy = np.array([0.0, 0.5, 2.0])
thermal = cme.Generator.from_rates(np.exp((energy[None, :] - energy[:, None]) / 2))
boltzmann = np.exp(-energy) / np.exp(-energy).sum()
print("detailed balance: stationary law - Boltzmann =", np.abs(cme.stationary(thermal).p[0] - boltzmann).max())

print("degenerate levels: which degeneracy, that of the source or of the destination?")
level = np.repeat([0, 1, 2], [1, 3, 2])  # six microstates in three levels
micro = cme.Generator.from_rates(W[np.ix_(level, level)])
start = np.eye(6)[0]
exact = np.bincount(level, weights=cme.propagator(micro, 0.8) @ start)
right = cme.propagator(cme.Generator.from_levels(W, [1, 3, 2]), 0.8) @ np.eye(3)[0]
wrong = cme.propagator(cme.Generator.from_rates(W * np.array([1, 3, 2])), 0.8) @ np.eye(3)[0]
print(f"     destination: error {np.abs(right - exact).max():.0e}; source: error {np.abs(wrong - exact).max():.2f}")

cube = cme.parse("; ".join(f"u{i} <-> d{i} @ 1, 1; d{i} = 1" for i in range(12)) + "; up := " + "+".join(f"u{i}" for i in range(12)))
urn = cme.lump(cube, keep=["up"])
print("the hypercube is an Ehrenfest urn:", urn, "slowest rates", slowest := urn.generator.spectrum().real[:4].round(9) + 0.0)

assert np.abs(P.sum(axis=0) - 1).max() < 1e-13  # any W conserves probability
assert np.abs(right - exact).max() < 1e-13 < 0.05 < np.abs(wrong - exact).max()
assert np.allclose(slowest, [0, -2, -4, -6])
