"""Events of SBML, with what they assign in counts."""

from dataclasses import replace
from typing import Any

from cme import ratelaw
from cme.elements import Event, Rule
from cme.formats.sbml_model import Model
from cme.formats.sbml_open import annotation, items
from cme.ratelaw import ZERO, Apply, Symbol


def event_targets(model: Model) -> set[str]:
    """What events set."""
    return {each.getVariable() for event in model.events for each in items(event, "EventAssignment")}


def read_events(model: Model, moving: set[str]) -> list[Event]:
    """The events; `moving` holds the volumes that change.

    An event without a trigger never happens; a delay, a priority or an assignment without a formula is as if it were not there.
    """
    found: dict[str, Event] = {}
    moved = event_targets(model) | {*model.rules} if len(model.events) > 1 else set()
    for number, element in enumerate(model.events, 1):
        identifier = element.getId() or model.unused(f"event_{number}")
        event = _read_event(model, element, identifier)
        if event is not None:
            found[identifier] = _in_counts(model, event, moving, moved)
    for element in model.events:
        second = (annotation(element, "event") or {}).get("then")
        if element.getId() in found and second in found:
            _join(model, found, element.getId(), second)
    return list(found.values())


def _read_event(model: Model, element: Any, name: str) -> Event | None:
    where = f"event {name!r}"
    trigger, delay, priority = element.getTrigger(), element.getDelay(), element.getPriority()
    assignments = []
    for each in items(element, "EventAssignment"):
        variable = each.getVariable()
        if not model.is_variable(variable):
            model.refuse(each, f"{where} sets {variable!r}, which is not defined")
        elif variable in model.rules:
            model.refuse(each, f"{where} sets {variable!r}, which an assignment rule sets already")
        elif model.has_formula(each, f"the assignment to {variable!r} in {where}"):
            assignments.append(Rule(variable, model.formula(each, where, draws=True)))
    if trigger is None or not trigger.isSetMath():
        if (model.level, model.sbml.getVersion()) < (3, 2):
            model.refuse(element, f"{where} has no trigger")
        return None
    ours = annotation(element, "event") or {}
    has_delay = delay is not None and model.has_formula(delay, f"the delay of {where}")
    has_priority = priority is not None and model.has_formula(priority, f"the priority of {where}")
    return Event(
        name=ours.get("name", name),
        trigger=model.formula(trigger, f"the trigger of {where}"),
        assignments=tuple(assignments),
        delay=model.formula(delay, f"the delay of {where}", draws=True) if has_delay else ZERO,
        priority=model.formula(priority, f"the priority of {where}", draws=True) if has_priority else None,
        persistent=trigger.getPersistent() if model.level >= 3 else True,
        initially=trigger.getInitialValue() if model.level >= 3 else True,
        values_from_trigger=element.getUseValuesFromTriggerTime() if element.isSetUseValuesFromTriggerTime() else True,
    )


def _in_counts(model: Model, event: Event, moving: set[str], moved: set[str]) -> Event:
    """The event with counts in place of concentrations.

    A concentration counts with the volume just before the event is carried out, also where the event sets that volume too (case 01779
    of the SBML Test Suite). So where values are those at the trigger and the volume may change until then, it is a factor of its own:
    `moving` is what changes at all, `moved` what other events change.
    """
    if event.delay == ZERO:  # then only other events lie between the trigger and the execution
        moving = moved
    made = []
    for each in event.assignments:
        volume = model.volume(each.name)
        later = event.values_from_trigger and ratelaw.names(volume) & moving
        formula = ratelaw.flat("*", (each.formula, Apply("now", (volume,)))) if later else model.to_count(each.name, each.formula)
        made.append(Rule(each.name, formula))
    return replace(event, assignments=tuple(made))


def _join(model: Model, found: dict[str, Event], first: str, second: str) -> None:
    """Put two events together again that `cme.formats.sbml_write` made of one; if they are not as it makes them they stay two.

    The first remembers its values in parameters, the second sets the species to them times the factors of that moment.
    """
    kept = {each.name: each.formula for each in found[first].assignments}
    made = []
    for each in found[second].assignments:
        match each.formula:
            case Symbol(slot) if slot in kept:
                made.append(Rule(each.name, kept[slot]))
            case Apply("*", (Symbol(slot), factor)) if slot in kept:
                made.append(Rule(each.name, ratelaw.flat("*", (kept[slot], Apply("now", (factor,))))))
    if set(kept) - set(model.parameters) or not len(made) == len(kept) - 1 == len(found[second].assignments) - 1:
        return
    for slot in kept:
        del model.parameters[slot]
    del found[second]
    found[first] = replace(found[first], assignments=tuple(made))
