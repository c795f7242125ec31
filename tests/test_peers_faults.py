"""Faults that simulators in use show on the cases of the SBML Test Suite; each is a small document of its own, with its exact answer."""

import numpy as np
import pytest
import verdict
from sbml_documents import event, model, parameter, reaction, species

import cme

SIMPLE = model(
    event("time >= 2.5", "S = 50", early="true"),
    species=species("S", 0),
    parameters='<parameter id="k" value="1" constant="true"/><parameter id="g" value="0.1" constant="true"/>',
    reactions=reaction("k", "birth", reactants="", products="S") + reaction("g*S", "death"),
)


def reset_mean(t):
    """0 -> S at rate 1, S -> 0 at rate 0.1 each, set to 50 at time 2.5."""
    return 10 * (1 - np.exp(-0.1 * t)) if t < 2.5 else 10 + 40 * np.exp(-0.1 * (t - 2.5))


def test_a_timed_event_takes_effect_at_its_time_and_not_at_the_next_reaction():
    times = [2.0, 2.5, 2.501, 4.0]
    law = cme.fsp(cme.load(SIMPLE), times, tol=1e-9)
    assert law.mean()[:, 0] == pytest.approx([reset_mean(t) for t in times], abs=1e-7)
    assert law["S"][1, 50] == pytest.approx(1, abs=1e-8)
    paths = cme.ssa(cme.load(SIMPLE), times, n_paths=4000, seed=1)
    assert (paths["S"][:, 1] == 50).all()
    verdict.mean_matches(paths["S"][:, 3], reset_mean(4.0))
    assert cme.rate_equations(cme.load(SIMPLE), times)["S"] == pytest.approx([reset_mean(t) for t in times], abs=1e-6)


def test_a_law_with_its_pairs_is_not_multiplied_once_more():
    """The law k P (P - 1) / 2 is the propensity as it stands: one pair of two molecules dimerises at rate k."""
    text = model(
        species=species("P", 2) + species("D", 0),
        parameters='<parameter id="k" value="0.5" constant="true"/>',
        reactions=(
            '<reaction id="R" reversible="false"><listOfReactants><speciesReference species="P" stoichiometry="2" constant="true"/>'
            '</listOfReactants><listOfProducts><speciesReference species="D" stoichiometry="1" constant="true"/></listOfProducts>'
            + reaction("k*P*(P-1)/2", "x")[reaction("k*P*(P-1)/2", "x").index("<kineticLaw>") :]
        ),
    )
    law = cme.fsp(cme.load(text), [1.0], tol=1e-10)
    assert law.mean()[0, law.species_index("D")] == pytest.approx(1 - np.exp(-0.5), abs=1e-9)


def test_a_boundary_species_does_not_change():
    text = model(
        species=species("S", 7, boundary="true") + species("X", 0),
        reactions=reaction("k*S", "R", reactants="S", products="X"),
    )
    network = cme.load(text)
    paths = cme.ssa(network, [1.0], n_paths=2000, seed=2)
    assert (paths["S"] == 7).all()
    verdict.mean_matches(paths["X"][:, 0], 14.0)
    law = cme.fsp(network, [1.0])
    assert law.mean()[0] == pytest.approx([7, 14], abs=1e-4)


def test_a_local_parameter_hides_a_global_one():
    local = '<localParameter id="k" value="0.25"/>'
    text = model(species=species("S", 8), reactions=reaction("k*S", "R", local=local))  # the global k is 2
    assert cme.fsp(cme.load(text), [1.0]).mean()[0, 0] == pytest.approx(8 * np.exp(-0.25), abs=1e-6)


def test_a_compartment_without_a_size_has_size_one():
    text = model(
        species=species("S", 8, amount="false"),
        compartments='<compartment id="c" spatialDimensions="3" constant="true"/>',
        reactions=reaction("k*S"),
    )
    assert cme.fsp(cme.load(text), [0.5]).mean()[0, 0] == pytest.approx(8 * np.exp(-1), abs=1e-6)


def test_a_draw_is_drawn_and_no_constant():
    text = model(event("time >= 1", "x = normal(3, 2)", draws=True), species=species("S", 1), parameters=parameter("x", 0), reactions="")
    drawn = cme.ssa(cme.load(text), [2.0], n_paths=4000, seed=3)["x"][:, 0]
    assert len(np.unique(drawn)) == 4000
    verdict.mean_matches(drawn, 3.0)
    assert np.std(drawn) == pytest.approx(2.0, abs=5 * 2 / np.sqrt(8000))
