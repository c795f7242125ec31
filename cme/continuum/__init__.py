"""The continuum: rate equations, linear noise, Langevin, Fokker-Planck."""
