"""A wall at zero biases the chemical Langevin equation even where the network is linear; on its natural domain the mean is right."""

import numpy as np

import cme

network = cme.load("birth_death").with_parameters(k=1.0, g=1.0)  # the exact stationary law is Poisson with mean 1
exact = cme.stationary(network, tol=1e-10)
densities = {boundary: cme.fokker_planck(network, np.inf, boundary=boundary) for boundary in ("natural", "reflect")}

table = cme.compare(exact, **densities)
wide = table.pivot(index="metric", columns="method", values="value")
print(wide.loc[["mean", "total_variation", "mass_outside"]].round(4))

assert abs(wide["reflect"]["mean"] - 1.2105263) < 1e-3, "closed form: the mean of a truncated gamma law"
assert abs(wide["natural"]["mean"] - 1) < 1e-3
assert wide["natural"]["mass_outside"] > 0.14, "the price: a seventh of the probability lies below zero"
