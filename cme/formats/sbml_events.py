"""Events of SBML, with what they assign in counts."""

from dataclasses import replace
from typing import Any

from cme import ratelaw
from cme.elements import Event, Rule
from cme.formats.sbml_model import Model
from cme.formats.sbml_open import annotation, items
from cme.ratelaw import ONE, ZERO, Apply, Number, Symbol


def event_targets(model: Model) -> set[str]:
    """What events set."""
    return {each.getVariable() for event in model.events for each in items(event, "EventAssignment")}


def read_events(model: Model, moving: set[str]) -> tuple[list[Event], dict[str, float]]:
    """The events, and parameters that are there to remember; `moving` holds the volumes that change.

    An event without a trigger never happens; a delay, a priority or an assignment without a formula is as if it were not there.
    """
    found: list[Event] = []
    memory: dict[str, float] = {}
    for number, element in enumerate(model.events, 1):
        event = _read_event(model, element, element.getId() or model.unused(f"event_{number}"))
        if event is not None:
            found += _in_counts(model, event, moving, memory)
    return found, memory


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


def _in_counts(model: Model, event: Event, moving: set[str], memory: dict[str, float]) -> list[Event]:
    """The event with counts in place of concentrations.

    A concentration counts with the volume just before the event is carried out, also where the event sets that volume too (case 01779
    of the SBML Test Suite). So where values are those at the trigger and the volume moves, the event only remembers its values, and a
    second one, which nothing can come before, sets everything with the volume of that moment.
    """
    alone = event.delay == ZERO and len(model.events) == 1  # then nothing lies between the trigger and the execution
    early = event.values_from_trigger and not alone and any(ratelaw.names(model.volume(each.name)) & moving for each in event.assignments)
    if not early:
        return [replace(event, assignments=tuple(Rule(each.name, model.to_count(each.name, each.formula)) for each in event.assignments))]
    done = model.unused(f"{event.name}_happens")
    slots = [model.unused(f"{event.name}_sets_{each.name}") for each in event.assignments]
    memory |= dict.fromkeys([done, *slots], 0.0)
    kept = [Rule(slot, each.formula) for slot, each in zip(slots, event.assignments, strict=True)]
    first = replace(event, assignments=(*kept, Rule(done, ONE)))
    second = Event(
        name=done,
        trigger=Apply(">", (Symbol(done), ZERO)),
        assignments=(
            *(Rule(each.name, model.to_count(each.name, Symbol(slot))) for slot, each in zip(slots, event.assignments, strict=True)),
            Rule(done, ZERO),
        ),
        priority=Number(float("inf")),
        values_from_trigger=False,
    )
    return [first, second]
