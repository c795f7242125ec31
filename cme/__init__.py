"""`cme`: the chemical master equation of a reaction network, exactly and by its diffusion approximations.

The names below are in reading order; each is loaded when it is first used, so that ``import cme`` is cheap.

Letters in every shape: M paths, T times, S species, R reactions, N states, P parameters. The last axis is species: counts (M, T, S),
states (N, S), stoichiometry (R, S). ``A[i, j]`` is the rate from state j to state i; columns of A sum to -leak.
"""

from importlib import import_module
from typing import TYPE_CHECKING

_HOME = {
    "parse": "cme.formats.text",
    "load": "cme.formats.shelf",
    "catalogue": "cme.formats.shelf",
    "Network": "cme.network",
    "Reaction": "cme.elements",
    "Species": "cme.elements",
    "MassAction": "cme.elements",
    "Event": "cme.elements",
    "StateSpace": "cme.states",
    "Generator": "cme.generator",
    "TimeDependentGenerator": "cme.generator_in_time",
    "lump": "cme.lumping",
    "lumping_defect": "cme.lumping",
    "coarsest_lumping": "cme.lumping",
    "check": "cme.checkup",
    "ssa": "cme.sampling.ssa",
    "ensemble": "cme.sampling.ensemble",
    "tau_leap": "cme.sampling.tau_leap",
    "fsp": "cme.projection.fsp",
    "stationary": "cme.projection.stationary",
    "closed_classes": "cme.projection.closed_classes",
    "quasi_stationary": "cme.projection.quasi_stationary",
    "first_passage": "cme.projection.first_passage",
    "switching_rates": "cme.projection.switching",
    "propagator": "cme.projection.propagator",
    "Diffusion": "cme.continuum.diffusion",
    "jump_moments": "cme.kramers_moyal",
    "rate_equations": "cme.continuum.rate_equations",
    "lna": "cme.continuum.lna",
    "langevin": "cme.continuum.langevin",
    "fokker_planck": "cme.continuum.fokker_planck",
    "RandomWalk": "cme.continuum.random_walk",
    "SchrodingerForm": "cme.continuum.schrodinger",
    "feynman_kac": "cme.continuum.feynman_kac",
    "compare": "cme.comparison",
    "Trajectories": "cme.results",
    "Distribution": "cme.results",
    "Moments": "cme.results",
    "Ensemble": "cme.ensembles",
    "FirstPassage": "cme.passages",
    "Switching": "cme.passages",
    "ModelError": "cme.errors",
    "ConvergenceError": "cme.errors",
}
_ROOMS = {"graphs": "cme.graphs", "plots": "cme.plots"}

if TYPE_CHECKING:
    import cme.graphs as graphs  # noqa: F401
    import cme.plots as plots  # noqa: F401
    from cme.checkup import check as check
    from cme.comparison import compare as compare
    from cme.continuum.diffusion import Diffusion as Diffusion
    from cme.continuum.feynman_kac import feynman_kac as feynman_kac
    from cme.continuum.fokker_planck import fokker_planck as fokker_planck
    from cme.continuum.langevin import langevin as langevin
    from cme.continuum.lna import lna as lna
    from cme.continuum.random_walk import RandomWalk as RandomWalk
    from cme.continuum.rate_equations import rate_equations as rate_equations
    from cme.continuum.schrodinger import SchrodingerForm as SchrodingerForm
    from cme.elements import Event as Event
    from cme.elements import MassAction as MassAction
    from cme.elements import Reaction as Reaction
    from cme.elements import Species as Species
    from cme.ensembles import Ensemble as Ensemble
    from cme.errors import ConvergenceError as ConvergenceError
    from cme.errors import ModelError as ModelError
    from cme.formats.shelf import catalogue as catalogue
    from cme.formats.shelf import load as load
    from cme.formats.text import parse as parse
    from cme.generator import Generator as Generator
    from cme.generator_in_time import TimeDependentGenerator as TimeDependentGenerator
    from cme.kramers_moyal import jump_moments as jump_moments
    from cme.lumping import coarsest_lumping as coarsest_lumping
    from cme.lumping import lump as lump
    from cme.lumping import lumping_defect as lumping_defect
    from cme.network import Network as Network
    from cme.passages import FirstPassage as FirstPassage
    from cme.passages import Switching as Switching
    from cme.projection.closed_classes import closed_classes as closed_classes
    from cme.projection.first_passage import first_passage as first_passage
    from cme.projection.fsp import fsp as fsp
    from cme.projection.propagator import propagator as propagator
    from cme.projection.quasi_stationary import quasi_stationary as quasi_stationary
    from cme.projection.stationary import stationary as stationary
    from cme.projection.switching import switching_rates as switching_rates
    from cme.results import Distribution as Distribution
    from cme.results import Moments as Moments
    from cme.results import Trajectories as Trajectories
    from cme.sampling.ensemble import ensemble as ensemble
    from cme.sampling.ssa import ssa as ssa
    from cme.sampling.tau_leap import tau_leap as tau_leap
    from cme.states import StateSpace as StateSpace

__all__ = [*_HOME, *_ROOMS]


def __getattr__(name: str):
    if name in _ROOMS:
        return import_module(_ROOMS[name])
    if name not in _HOME:
        raise AttributeError(f"module 'cme' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
