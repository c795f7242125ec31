"""A bistable network switches after a time that grows exponentially with its size; the mean is exact where samples would take ages."""

import numpy as np

import cme


def bistable(size):
    """Schloegl's reactions with stable states at 0.1 and 4 molecules per unit of volume, and the barrier at 1.5."""
    return cme.parse(f"""
        0   -> X   @ 0.6*V
        2 X => 3 X @ 5.6/V*X*(X - 1)
        X   -> 0   @ 6.55
        3 X => 2 X @ X*(X - 1)*(X - 2)/V^2
        V = {size};  X = {round(0.1 * size)}
    """)


sizes = np.array([10, 20, 40, 80])
up = [cme.first_passage(bistable(size), f"X >= {4 * size}") for size in sizes]
for size, found in zip(sizes, up, strict=True):
    print(f"V = {size}: switches on after {found.mean():.10g}, with sd {found.sd():.6g}")

# The whole law at V = 20, with bounds, against samples of it.
times = np.array([1e3, 1e5, 4e5])
law = cme.first_passage(bistable(20), {"on": "X >= 80"}, times)
print(law.to_frame().to_string(index=False))

# Which comes first from the barrier, and how often it switches in the long run.
either = cme.first_passage(bistable(80), {"off": "X <= 8", "on": "X >= 320"}, initial={"X": 120})
print(either.summary().to_string(index=False))
rates = cme.switching_rates(bistable(80), {"off": "X <= 8", "on": "X >= 320"})
print(rates.to_frame().to_string(index=False))

slope = np.log(up[-1].mean() / up[-2].mean()) / (sizes[-1] - sizes[-2])
barrier = 0.42007698  # of the exponent per unit of volume, where the volume is large: the integral of ln(down/up)
assert abs(slope / barrier - 1) < 0.01, "the time grows as exp(barrier * V)"
assert np.isclose(rates.rate("off", "on"), 1 / up[-1].mean(), rtol=1e-10), "there is one way in: rate and mean time are inverse"
assert np.allclose(law.cdf[:, 0], -np.expm1(-times / law.mean()), atol=2e-3), "which is nearly memoryless"
