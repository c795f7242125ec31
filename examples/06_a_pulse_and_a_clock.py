"""An event at a known time and a rate that moves: the master equation, exact paths and the rate equations agree on what they must."""

import numpy as np

import cme

gene = cme.parse("""
    make:  0 => M @ k*(1 + sin(2*pi*time/24))    # a daily rhythm
    decay: M -> 0 @ 0.5
    wash: at time >= 36: M = 0                   # the medium is changed
    k = 20;  M = 40
""")
print(gene)
print(cme.check(gene), "\n")

times = np.array([6.0, 35.9, 36.0, 42.0])
law = cme.fsp(gene, times, tol=1e-8)
paths = cme.ssa(gene, times, n_paths=5000, seed=1)
mean = cme.rate_equations(gene, times)["M"]
print(cme.compare(law, SSA=paths).query("metric == 'mean'")[["time", "method", "value", "lo", "hi"]].to_string(index=False))

assert np.allclose(law.mean()[:, 0], mean, atol=1e-5), "the rates are linear, so that the deterministic path is the mean"
assert law.mean()[2, 0] == 0, "at the time of the event the count is what the event sets"
assert np.allclose(law.sd()[3] ** 2, law.mean()[3], atol=1e-4), "washed, the law is Poisson again, with a mean that moves"
assert np.all(np.abs(paths.mean() - law.mean()) <= 5 * paths.standard_error())
