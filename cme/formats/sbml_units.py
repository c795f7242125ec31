"""Where units would scale numbers in SBML, and they differ: refused, since numbers are taken as written.

In Level 2 Version 2 and later, and in Level 3, declared units never scale anything. Before, a kinetic law, a delay and a concentration
may name units of their own.
"""

from typing import Any

from cme.formats.sbml_open import items

_BUILT_IN = {"time": "second", "substance": "mole", "volume": "litre", "area": "square_metre", "length": "metre"}
_SIZES = {0: "dimensionless", 1: "length", 2: "area", 3: "volume"}


def differing_units(model: Any) -> list[tuple[Any, str]]:
    """Everything whose own units are not those of the model: elements, and what is the matter with each."""
    if (model.getLevel(), model.getVersion()) > (2, 2):
        return []
    units, found = _Units(model), list[tuple[Any, str]]()

    def compare(element: Any, what: str, own: str, others: str) -> None:
        if own and not units.are_equal(own, others):
            found.append(
                (element, f"{what} in units {own!r} where {others!r} is expected; units scale nothing here, so convert the numbers")
            )

    species = {item.getId(): item for item in items(model, "Species")}
    for each in species.values():
        compartment = model.getCompartment(each.getCompartment())
        if compartment is not None and each.isSetSpatialSizeUnits():
            size = compartment.getUnits() or _SIZES[compartment.getSpatialDimensions()]
            compare(each, f"the concentration of species {each.getId()!r} is", each.getSpatialSizeUnits(), size)
    for reaction in items(model, "Reaction"):
        law, where = reaction.getKineticLaw(), f"the kinetic law of reaction {reaction.getId()!r} is"
        if law is None:
            continue
        compare(law, where, law.getTimeUnits(), "time")
        for reference in (*items(reaction, "Reactant"), *items(reaction, "Product")):
            changed = species.get(reference.getSpecies())
            if changed is not None and law.isSetSubstanceUnits():
                compare(law, where, law.getSubstanceUnits(), changed.getSubstanceUnits() or "substance")
    for number, event in enumerate(items(model, "Event"), 1):
        if event.isSetTimeUnits():
            compare(event, f"the delay of event {event.getId() or number!r} is", event.getTimeUnits(), "time")
    return found


class _Units:
    """Units by name: those the model defines, those of SBML, and the kinds that these are made of."""

    def __init__(self, model: Any):
        self.model = model

    def are_equal(self, a: str, b: str) -> bool:
        import libsbml

        return a == b or libsbml.UnitDefinition.areIdentical(self.definition(a), self.definition(b))

    def definition(self, name: str) -> Any:
        import libsbml

        found = self.model.getUnitDefinition(name)
        if found is None:
            found = libsbml.UnitDefinition(self.model.getLevel(), self.model.getVersion())
            unit, kind = found.createUnit(), _BUILT_IN.get(name, name)
            unit.setKind(libsbml.UnitKind_forName(kind.removeprefix("square_")))
            unit.setExponent(2 if kind.startswith("square_") else 1)
            unit.setScale(0)
            unit.setMultiplier(1.0)
        return libsbml.UnitDefinition.convertToSI(found)
