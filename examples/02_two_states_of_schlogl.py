"""Schlögl's model settles in one of two states by chance: the rate equations know one of them, the exact law both."""

import numpy as np

import cme

schlogl = cme.parse("""
    2 X -> 3 X  @ k1        # mass action, k1 x (x-1) / 2
    3 X -> 2 X  @ k2
    0   -> X    @ k3
    X   -> 0    @ k4
    X = 250;  k1 = 0.03;  k2 = 1e-4;  k3 = 200;  k4 = 3.5
""")
exact = cme.fsp(schlogl, 20.0, tol=1e-8)
p = exact["X"][0]
peaks = np.flatnonzero((p[1:-1] > p[:-2]) & (p[1:-1] > p[2:]) & (p[1:-1] > 1e-4)) + 1
low = float(exact.probability(lambda X: X <= 256)[0])
print(f"peaks at {peaks}, probability of the lower state {low:.8f} (error below {exact.error_bound[0]:.0e})")

deterministic = cme.rate_equations(schlogl, 20.0)["X"][0]
print(f"the rate equations give {deterministic:.1f}")

assert len(peaks) == 2
assert abs(low - 0.51321661) < 1e-8
assert abs(deterministic - peaks[1]) < 10, "where the deterministic path ends, only half of the probability does"
