"""Thinking before the first attempt: read the specification, then sketch the design."""

from __future__ import annotations

from random import Random

from ecot.synthesis.faults.places import is_clock, is_reset
from ecot.synthesis.mechanical.writing.specification import requirements
from ecot.synthesis.mechanical.writing.voice import brief, listed, quote, say
from ecot.synthesis.verilog.design import Declared, Design, DriverKind, Process, Role
from ecot.tasks.bundle import Task


def first_thinking(task: Task, design: Design, rng: Random) -> str:
    """What an engineer notes before writing `design`, which is a correct design for the task."""
    parts = [_interface(task, design, rng)]
    asked = requirements(task.spec)
    if asked:
        chosen = sorted(rng.sample(range(len(asked)), min(len(asked), rng.choice((1, 2, 2)))))
        opening = rng.choice(("To keep in mind: ", "The specification insists: ", "What matters: ", "Note: "))
        parts.append(opening + "; ".join(quote(asked[index]) for index in chosen) + ".")
    sketch = [*_constants(design, rng), *_storage(design, rng), *_choices(design, rng), *_combinational(design, rng)]
    parts.append(" ".join(sketch))
    parts.append(_care(design, rng))
    return "\n\n".join(part for part in parts if part)


def _width(item: Declared) -> str:
    return f"`{item.name}{item.width}`" if item.width else f"`{item.name}`"


def _interface(task: Task, design: Design, rng: Random) -> str:
    inputs = ", ".join(_width(item) for item in design.having(Role.INPUT)[:8])
    outputs = ", ".join(_width(item) for item in design.having(Role.OUTPUT)[:8])
    opening = say(
        rng,
        (
            "`{entry}`: {title}.",
            "{title}, as module `{entry}`.",
            "Module `{entry}` ({title}).",
            "What is asked for: {title}; the module is called `{entry}`.",
        ),
        entry=task.entry,
        title=task.title.rstrip("."),
    )
    ports = say(
        rng,
        (
            "Inputs are {inputs}; outputs are {outputs}.",
            "It takes {inputs} and gives {outputs}.",
            "Interface: in {inputs}, out {outputs}.",
        ),
        inputs=inputs or "none",
        outputs=outputs or "none",
    )
    parameters = design.having(Role.PARAMETER)
    sized = f" Sizes follow from {listed(item.name for item in parameters)}." if parameters else ""
    return f"{opening} {ports}{sized}"


def _constants(design: Design, rng: Random) -> list[str]:
    states = [item.name for item in design.having(Role.STATE)]
    constants = [item.name for item in design.having(Role.CONSTANT)]
    if len(states) > 1:
        options = ("States: {names}.", "I need the states {names}.", "The states are {names}.")
        return [say(rng, options, names=listed(states, limit=7))]
    if constants and rng.random() < 0.7:
        options = ("Named constants: {names}.", "I name the constants {names}.", "Constants get names: {names}.")
        return [say(rng, options, names=listed(constants, limit=7))]
    return []


def _storage(design: Design, rng: Random) -> list[str]:
    found = []
    for process in design.processes:
        names = [name for name in sorted(process.targets) if _is_signal(design, name)]
        if not process.clocked or not names:
            continue
        clocks = [f"{edge} {name}" for edge, name in process.events if not is_reset(name)]
        text = say(
            rng,
            (
                "{names} {are} registered on `{clock}`",
                "On `{clock}` the block updates {names}",
                "Registers on `{clock}`: {names}",
            ),
            names=listed(names),
            are="are" if len(names) > 1 else "is",
            clock=clocks[0] if clocks else "the clock",
        )
        found.append(f"{text}{_reset(design, process, rng)}.")
    if not found:
        found.append(
            rng.choice(
                (
                    "There is no state: the outputs are a function of the inputs alone.",
                    "The module is purely combinational, so no clock is involved.",
                    "Nothing has to be stored; combinational logic is enough.",
                )
            )
        )
    return found


def _reset(design: Design, process: Process, rng: Random) -> str:
    asynchronous = [(edge, name) for edge, name in process.events if is_reset(name)]
    if asynchronous:
        edge, name = asynchronous[0]
        level = "low" if edge == "negedge" else "high"
        return rng.choice((f", reset asynchronously by `{name}` (active {level})", f", with `{name}` asynchronous"))
    inside = [d for d in design.drivers if process.start <= d.start and d.end <= process.end]
    names = sorted({name for d in inside for name in d.reads if is_reset(name)})
    names = [name for name in names if design.names[name].role is Role.INPUT]
    if not names:
        return ""
    return rng.choice((f", with a synchronous reset by `{names[0]}`", f"; `{names[0]}` is sampled on the clock"))


def _choices(design: Design, rng: Random) -> list[str]:
    """What is decided by a case statement."""
    found = []
    for node in design.tree.of("case_statement"):
        names = [name for name in sorted(design.targets_below(node)) if _is_signal(design, name)]
        subject = next((child for child in node.children if child.type == "case_expression"), None)
        arms = [child for child in node.children if child.type == "case_item"]
        if subject is None or not names:
            continue
        fields = {"subject": brief(design.tree.text(subject), 40), "names": listed(names, 4), "arms": len(arms)}
        options = (
            "A case on `{subject}` with {arms} arms decides {names}.",
            "{names}: one case on `{subject}`.",
            "I select with a case on `{subject}` ({arms} arms) and set {names} there.",
        )
        found.append(say(rng, options, **fields))
    return found[:2]


def _combinational(design: Design, rng: Random) -> list[str]:
    """Where the values that are not registered come from."""
    kinds = (DriverKind.ASSIGN, DriverKind.COMBINATIONAL)
    drivers = [driver for driver in design.drivers if driver.kind in kinds]
    found = []
    seen: set[str] = set()
    for driver in drivers:
        names = [name for name in sorted(driver.targets - seen) if _is_signal(design, name)]
        every = {name for other in drivers if other.targets & driver.targets for name in other.reads}
        reads = [n for n in sorted(every - driver.targets) if _is_signal(design, n) and not is_clock(n)]
        seen |= driver.targets
        if not names or not reads:
            continue
        text = brief(design.tree.slice(driver.start, driver.end), 70)
        if driver.kind is DriverKind.ASSIGN and len(text) < 60 and "..." not in text and rng.random() < 0.5:
            found.append(f"Directly: `{text}`.")
        else:
            options = ("{names} {follow} from {reads}.", "{names}: combinational, from {reads}.")
            follow = "follow" if len(names) > 1 else "follows"
            found.append(say(rng, options, names=listed(names), reads=listed(reads, 4), follow=follow))
    return found[:3]


def _is_signal(design: Design, name: str) -> bool:
    item = design.names.get(name)
    return item is not None and item.role in (Role.INPUT, Role.OUTPUT, Role.SIGNAL)


def _care(design: Design, rng: Random) -> str:
    options = []
    if any(process.clocked for process in design.processes):
        options += [
            "Clocked assignments are nonblocking, so every register reads the values from before the edge.",
            "I use `<=` throughout the clocked code.",
        ]
    if any(not process.clocked for process in design.processes):
        options += [
            "In the combinational block every path has to assign its outputs, otherwise a latch appears.",
            "Each combinational output gets a value on every path.",
        ]
    if len(design.having(Role.STATE)) > 1 or design.tree.of("case_statement"):
        options.append("The case needs an answer for every value of its selector.")
    if any(item.width for item in design.having(Role.OUTPUT)) and design.tree.of("+", "-"):
        options.append("Widths matter in the arithmetic: a result must be as wide as what it is assigned to.")
    if not options:
        return ""
    return rng.choice(options)
