"""Random paths: the stochastic simulation algorithm."""
