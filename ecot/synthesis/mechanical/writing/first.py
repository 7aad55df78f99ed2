"""Thinking before the first attempt: read the specification, then sketch the design."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from random import Random

from ecot.synthesis.faults import Edit, FaultStack
from ecot.synthesis.faults.places import is_clock, is_reset
from ecot.synthesis.mechanical.writing.specification import requirements
from ecot.synthesis.mechanical.writing.voice import brief, listed, quote, say
from ecot.synthesis.verilog.design import Declared, Design, DriverKind, Process, Role, read_design
from ecot.tasks.bundle import Task


@dataclass(frozen=True)
class Sketch:
    """What can be said about the code of the first answer without contradicting it."""

    design: Design
    """The answer's own design where it parses, otherwise the correct one."""
    slips: tuple[tuple[int, int], ...]
    """Byte spans of `design` in which the answer is wrong."""
    own: bool
    """Whether `design` is the answer's own, so that all that is read off it is true of the answer."""
    stateless: bool
    """Whether the correct design stores nothing."""

    def clean(self, start: int, end: int) -> bool:
        """Whether the answer is right in a span, so that a judgement about it holds."""
        return all(last < start or end < first for first, last in self.slips)

    def told(self, start: int, end: int) -> bool:
        """Whether what stands in a span of `design` stands in the answer too."""
        return self.own or self.clean(start, end)

    def names(self, *roles: Role) -> list[Declared]:
        """Declared names of these roles whose declarations the answer holds; none if it lacks one."""
        found = self.design.having(*roles)
        return found if all(self.told(item.start, item.start + len(item.name)) for item in found) else []


def sketch_of(stack: FaultStack, applied: Collection[Edit]) -> Sketch:
    """The sketch for the answer `stack.text(applied)`."""
    answer, correct = read_design(stack.text(applied)), read_design(stack.code)
    stateless = not any(process.clocked for process in correct.processes)
    if answer.tree.has_errors:
        return Sketch(correct, tuple((edit.start, edit.end) for edit in applied), False, stateless)
    places = [stack.place(edit, applied) for edit in applied]
    return Sketch(answer, tuple((place.start, place.end) for place in places), True, stateless)


def first_thinking(task: Task, sketch: Sketch, rng: Random) -> str:
    """What an engineer notes before writing the first answer; nothing in it contradicts that answer."""
    parts = [_interface(task, sketch, rng)]
    asked = requirements(task.spec)
    if asked:
        chosen = sorted(rng.sample(range(len(asked)), min(len(asked), rng.choice((1, 2, 2)))))
        opening = rng.choice(("To keep in mind: ", "The specification insists: ", "What matters: ", "Note: "))
        parts.append(opening + "; ".join(quote(asked[index]) for index in chosen) + ".")
    said = [*_constants(sketch, rng), *_storage(sketch, rng), *_choices(sketch, rng), *_combinational(sketch, rng)]
    parts.append(" ".join(said))
    parts.append(_care(sketch, rng))
    return "\n\n".join(part for part in parts if part)


def _width(item: Declared) -> str:
    return f"`{item.name}{item.width}`" if item.width else f"`{item.name}`"


def _ports(sketch: Sketch, role: Role) -> str:
    tree = sketch.design.tree
    wrong = {tree.line(at) for span in sketch.slips for at in span}
    items = [item for item in sketch.design.having(role) if sketch.own or tree.line(item.start) not in wrong]
    return ", ".join(_width(item) for item in items[:8])


def _interface(task: Task, sketch: Sketch, rng: Random) -> str:
    inputs, outputs = _ports(sketch, Role.INPUT), _ports(sketch, Role.OUTPUT)
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
    if not inputs or not outputs:
        ports = ""
    parameters = sketch.names(Role.PARAMETER)
    sized = f" Sizes follow from {listed(item.name for item in parameters)}." if parameters else ""
    return f"{opening} {ports}{sized}".rstrip()


def _constants(sketch: Sketch, rng: Random) -> list[str]:
    states = [item.name for item in sketch.names(Role.STATE)]
    constants = [item.name for item in sketch.names(Role.CONSTANT)]
    if len(states) > 1:
        options = ("States: {names}.", "I need the states {names}.", "The states are {names}.")
        return [say(rng, options, names=listed(states, limit=7))]
    if constants and rng.random() < 0.7:
        options = ("Named constants: {names}.", "I name the constants {names}.", "Constants get names: {names}.")
        return [say(rng, options, names=listed(constants, limit=7))]
    return []


def _storage(sketch: Sketch, rng: Random) -> list[str]:
    design, found = sketch.design, []
    for process in design.processes:
        names = [name for name in sorted(process.targets) if _is_signal(design, name)]
        if not process.clocked or not names or not sketch.told(process.start, process.end):
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
        found.append(f"{text}{_reset(sketch, process, rng)}.")
    if sketch.stateless and not found:
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


def _reset(sketch: Sketch, process: Process, rng: Random) -> str:
    design = sketch.design
    if not sketch.clean(process.start, process.end):
        return ""  # how the reset acts may be what is wrong
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


def _choices(sketch: Sketch, rng: Random) -> list[str]:
    """What is decided by a case statement."""
    design, found = sketch.design, []
    for node in design.tree.of("case_statement"):
        names = [name for name in sorted(design.targets_below(node)) if _is_signal(design, name)]
        subject = next((child for child in node.children if child.type == "case_expression"), None)
        arms = [child for child in node.children if child.type == "case_item"]
        if subject is None or not names or not sketch.told(node.start_byte, node.end_byte):
            continue
        fields = {"subject": brief(design.tree.text(subject), 40), "names": listed(names, 4), "arms": len(arms)}
        options = (
            "A case on `{subject}` with {arms} arms decides {names}.",
            "{names}: one case on `{subject}`.",
            "I select with a case on `{subject}` ({arms} arms) and set {names} there.",
        )
        found.append(say(rng, options, **fields))
    return found[:2]


def _combinational(sketch: Sketch, rng: Random) -> list[str]:
    """Where the values that are not registered come from."""
    design = sketch.design
    kinds = (DriverKind.ASSIGN, DriverKind.COMBINATIONAL)
    drivers = [driver for driver in design.drivers if driver.kind in kinds]
    found = []
    seen: set[str] = set()
    for driver in drivers:
        names = [name for name in sorted(driver.targets - seen) if _is_signal(design, name)]
        together = [other for other in drivers if other.targets & driver.targets]
        every = {name for other in together for name in other.reads}
        reads = [n for n in sorted(every - driver.targets) if _is_signal(design, n) and not is_clock(n)]
        seen |= driver.targets
        if not names or not reads or not all(sketch.told(other.start, other.end) for other in together):
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


def _care(sketch: Sketch, rng: Random) -> str:
    """A rule that the answer keeps."""
    design, options = sketch.design, []
    sound = {process: sketch.clean(process.start, process.end) for process in design.processes}
    clocked = [process for process in sound if process.clocked]
    if clocked and all(sound[process] for process in clocked):
        options += [
            "Clocked assignments are nonblocking, so every register reads the values from before the edge.",
            "I use `<=` throughout the clocked code.",
        ]
    if len(clocked) < len(sound) and all(sound[process] for process in sound if not process.clocked):
        options += [
            "In the combinational block every path has to assign its outputs, otherwise a latch appears.",
            "Each combinational output gets a value on every path.",
        ]
    cases = design.tree.of("case_statement")
    if cases and all(sketch.clean(node.start_byte, node.end_byte) for node in cases):
        options.append("The case needs an answer for every value of its selector.")
    wide = any(item.width for item in design.having(Role.OUTPUT))
    if not sketch.slips and wide and design.tree.of("+", "-"):
        options.append("Widths matter in the arithmetic: a result must be as wide as what it is assigned to.")
    if not options:
        return ""
    return rng.choice(options)
