"""What the simulators of `peers.py` are given of one network. It runs in a process of its own, with cme."""

import math
from dataclasses import replace
from pathlib import Path

import networks

import cme
from cme.compiled import Compiled
from cme.elements import MassAction
from cme.infix import to_infix


def job(timed: networks.Timed, folder: Path) -> dict:
    """Write NAME.xml and NAME.net; return the rest as what JSON can hold. Everything but the SBML file is made from that file."""
    sbml, net = folder / f"{timed.name}.xml", folder / f"{timed.name}.net"
    source = cme.parse(timed.text) if timed.text else cme.load(networks.folder_of_networks() / f"{timed.name}.net")
    # the groups of a .net file are rules that no law reads, and not every peer takes rules
    sbml.write_text(replace(source, rules=()).to_sbml())
    network = cme.load(sbml)
    laws = [to_infix(law) for law in Compiled(network).propensity_formulas]
    rows = [row(network, r, laws[r]) for r in range(len(laws))]
    net.write_text(to_net(network, rows))
    return {
        "sbml": str(sbml),
        "net": str(net),
        "species": list(network.species_names),
        "start": [float(count) for count in network.initial.states[0]],
        "reactions": rows,
        "propensities": [law.replace("^", "**") for law in laws],
        "exact": exact(network, timed),
    }


def row(network, r: int, law: str) -> tuple[list[str], list[str], float | str]:
    """Reactants, products, and the rate: a constant k of k x (x-1) ... for mass action, else the propensity."""
    reaction = network.reactions[r]
    reactants, products = ([name for name, n in side for _ in range(int(n))] for side in (reaction.reactants, reaction.products))
    if not isinstance(reaction.law, MassAction):
        return reactants, products, law
    constant = to_infix(network.resolve(reaction.law.constant)).replace("^", "**")
    orders = [1] if reaction.law.convention == "falling" else [math.factorial(int(n)) for _, n in reaction.reactants]
    return reactants, products, eval(constant, {"__builtins__": {}}) / math.prod(orders)


def to_net(network, rows) -> str:
    """The network in the format of run_network: rates are names of parameters or functions; what a law reads is a group."""
    number = {name: i + 1 for i, name in enumerate(network.species_names)}
    parameters = [f"k{r} {rate!r}" for r, (_, _, rate) in enumerate(rows) if isinstance(rate, float)]
    functions = [f"f{r}() {rate.replace(' ', '')}" for r, (_, _, rate) in enumerate(rows) if isinstance(rate, str)]
    reactions = []
    for r, (reactants, products, rate) in enumerate(rows):
        # a law that is no mass action is the whole propensity: nothing may be multiplied to it
        used = reactants if isinstance(rate, float) else []
        made = products
        if not isinstance(rate, float) and reactants:
            raise ValueError(f"{network.reactions[r].name} has reactants and a law that is no mass action; run_network would multiply them")
        sides = [",".join(str(number[name]) for name in side) or "0" for side in (used, made)]
        reactions.append(f"{sides[0]} {sides[1]} {'k' if isinstance(rate, float) else 'f'}{r}")
    species = [f"{name}() {count:g}" for name, count in zip(network.species_names, network.initial.states[0], strict=True)]
    groups = [f"{name} {i}" for name, i in number.items()] if functions else []
    blocks = {"parameters": parameters, "functions": functions, "species": species, "reactions": reactions, "groups": groups}
    return "".join(
        f"begin {name}\n" + "".join(f"{i + 1} {line}\n" for i, line in enumerate(lines)) + f"end {name}\n"
        for name, lines in blocks.items()
        if lines
    )


def exact(network, timed: networks.Timed) -> dict | None:
    """Exact means (and standard deviations where the solver gives them) at the times of the ensemble."""
    if timed.means is None:
        return None
    times = timed.times()
    found = cme.fsp(network, times, tol=1e-8) if timed.means == "fsp" else getattr(cme, timed.means)(network, times)
    sd = found.sd()
    return {"solver": timed.means, "mean": found.mean().tolist(), "sd": None if timed.means == "rate_equations" else sd.tolist()}
