"""Thinking after a failed attempt: what the tool says, where that comes from, what is wrong there, what to write."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

from ecot.outcomes import Label
from ecot.synthesis.faults import Edit, FaultStack
from ecot.synthesis.mechanical.diagnosis import Reading
from ecot.synthesis.mechanical.implication import Implication, Via
from ecot.synthesis.mechanical.writing.causes import CAUSES, SILENT_CAUSES
from ecot.synthesis.mechanical.writing.mismatch import describe_mismatch, describe_path, describe_shared
from ecot.synthesis.mechanical.writing.specification import relevant
from ecot.synthesis.mechanical.writing.voice import brief, quote, say
from ecot.synthesis.verilog.design import Role, read_design
from ecot.tasks.bundle import Task

_MEANS_WIDTH = frozenset({"wrong_declared_width", "wrong_size", "wrong_index"})


@dataclass(frozen=True)
class Failure:
    """A failed attempt, and the fault in it that the diagnostic led to."""

    task: Task
    stack: FaultStack
    applied: tuple[Edit, ...]
    """Faults in the attempt's code, the one to mend among them."""
    reading: Reading
    implication: Implication
    before: Reading | None
    """What the tool said about the attempt before, if there was one."""

    @property
    def code(self) -> str:
        """The attempt's code."""
        return self.stack.text(self.applied)

    @property
    def edit(self) -> Edit:
        """The fault to mend."""
        return self.implication.edit


def repair_thinking(failure: Failure, rng: Random) -> str:
    """What an engineer writes on reading this diagnostic beside this code and its specification."""
    symptom = _symptom(failure, rng)
    cause = _cause(failure, rng)
    parts = [symptom, cause, _change(failure, rng)]
    if failure.implication.via is Via.CONE:
        spec = _specification(failure, rng)
        path = describe_path(failure.code, failure.implication, rng)
        shared = describe_shared(failure.stack, failure.applied, failure.reading, failure.implication, rng)
        parts[1] = " ".join(part for part in (path, shared, cause, spec) if part)
    return "\n\n".join(part for part in parts if part)


def _symptom(failure: Failure, rng: Random) -> str:
    progress = _progress(failure, rng)
    if failure.reading.label is Label.FUNCTIONAL_MISMATCH:
        return f"{progress}{describe_mismatch(failure.reading, rng, 'failing' in progress)}"
    return f"{progress}{_complaint(failure, rng)}"


def _progress(failure: Failure, rng: Random) -> str:
    """How this outcome differs from the one before."""
    before, now = failure.before, failure.reading
    if before is None:
        return ""
    compiles = (Label.COMPILATION_ERROR, Label.COMPILATION_ERROR)
    if (before.label, now.label) == compiles and before.subcode != now.subcode:
        return rng.choice(("The file parses now. ", "The grammar is in order now; elaboration is next. "))
    if (before.label, now.label) == compiles:
        return rng.choice(("That message is gone and another one appears. ", "The next complaint. ", "One down. "))
    if before.label is Label.COMPILATION_ERROR:
        return rng.choice(("It compiles now. ", "The compiler is content, so the simulation ran. ", "It builds. "))
    if now.label is Label.FUNCTIONAL_MISMATCH and now.failed_samples < before.failed_samples:
        return rng.choice(
            (
                f"Down from {before.failed_samples} failing samples to {now.failed_samples}. ",
                f"Better, {now.failed_samples} failing samples after {before.failed_samples}. ",
            )
        )
    return ""


def _complaint(failure: Failure, rng: Random) -> str:
    complaint = failure.implication.complaint
    assert complaint is not None
    message = complaint.text
    if complaint.line is None:
        return say(
            rng,
            (
                "Outside of my file the tool reports: {message}. The interface does not match.",
                "The testbench cannot connect the module: {message}.",
            ),
            message=message.rstrip("."),
        )
    stage = {"syntax": "parser", "elaboration": "elaborator"}.get(failure.reading.subcode, "tool")
    text = read_design(failure.code).tree.line_text(complaint.line)
    at = f", `{brief(text, 70)}`" if text else " (the end of the file)"
    opening = say(
        rng,
        (
            "The {stage} stops at line {line}{at}: {message}.",
            "Line {line}{at}: {message}.",
            "`{message}` at line {line}{at}.",
            "The message is `{message}`, for line {line}{at}.",
        ),
        stage=stage,
        line=complaint.line,
        at=at,
        message=message.rstrip("."),
    )
    place = failure.stack.place(failure.edit, failure.applied)
    if failure.implication.via is Via.LINE and complaint.line > place.first_line:
        opening += say(
            rng,
            (
                " The parser complains where it can no longer go on, so the slip is before that, on line {line}.",
                " That line is fine by itself; what comes before it, line {line}, is not finished.",
                " The cause lies just above, on line {line}.",
            ),
            line=place.first_line,
        )
    if failure.implication.via is Via.BLOCK:
        opening += rng.choice(
            (
                " What stands there is legal, only not at that depth, so a block above is not closed properly.",
                " That is where the block structure breaks, not where it went wrong.",
            )
        )
    return opening


def _cause(failure: Failure, rng: Random) -> str:
    edit, stack, applied = failure.edit, failure.stack, failure.applied
    place = stack.place(edit, applied)
    tree = read_design(failure.code).tree
    fields = dict(edit.facts)
    fields |= {name: str(stack.line(offset, applied)) for name, offset in edit.anchors.items()}
    fields |= {"line": str(place.first_line), "new": edit.new, "line_text": brief(tree.line_text(place.first_line))}
    table = SILENT_CAUSES if failure.implication.via is Via.CONE else {}
    options = table.get(edit.operator, CAUSES[edit.operator])
    if not edit.new.strip():
        # The line at hand is the one after the gap, so it must not be blamed.
        options = tuple(text for text in options if "{line_text}" not in text) or options
    return say(rng, options, **{key: brief(value, 110) for key, value in fields.items()})


def _specification(failure: Failure, rng: Random) -> str:
    design = read_design(failure.stack.code)
    mismatch = failure.implication.mismatch
    symptom = {mismatch.signal} if mismatch is not None else set()
    ports = {name for name in failure.edit.targets | failure.edit.identifiers if _is_port(design.names.get(name))}
    numbers = [failure.edit.facts.get(key, "") for key in ("value", "number")]
    if failure.edit.operator in _MEANS_WIDTH:
        numbers = []
    inputs = mismatch.inputs if mismatch is not None else ""
    pairs = re.findall(r"(\w+)=(\d+)(?=\s|$)", inputs)
    choices = [value for name, value in pairs if name in design.names and design.names[name].width]
    sentence = relevant(failure.task.spec, ports | symptom, [n for n in numbers if len(n) > 1], choices)
    if not sentence or rng.random() < 0.25:
        return ""
    return say(
        rng, ("The specification: {text}.", "It is specified: {text}.", "Asked for: {text}."), text=quote(sentence)
    )


def _is_port(item: object) -> bool:
    return getattr(item, "role", None) in (Role.INPUT, Role.OUTPUT)


def _change(failure: Failure, rng: Random) -> str:
    edit, stack = failure.edit, failure.stack
    left = [other for other in failure.applied if other is not edit]
    tree = read_design(stack.text(left)).tree
    place = stack.place(edit, left)
    first = tree.line(place.start + len(edit.old) - len(edit.old.lstrip())) if edit.old.strip() else place.first_line
    text = brief(tree.line_text(first), 110)
    if edit.old.endswith("\n") and not edit.new:
        added = edit.old.strip()
        count = added.count("\n") + 1
        if count > 1:
            return say(
                rng,
                (
                    "I add the {count} lines from `{text}` on, at line {line}.",
                    "The arm `{text}` goes in at line {line}.",
                ),
                count=count,
                text=brief(added.split("\n")[0], 80),
                line=first,
            )
        return say(
            rng,
            (
                "Insert `{text}` at line {line}.",
                "I add `{text}` as line {line}.",
                "The missing line, `{text}`, goes in at line {line}.",
            ),
            text=text,
            line=first,
        )
    if "\n" in edit.old.strip() or "\n" in edit.new.strip():
        options = ("I exchange the two branches, lines {first} to {last}.", "Lines {first} to {last} change places.")
        return say(rng, options, first=place.first_line, last=place.last_line)
    return say(
        rng,
        (
            "Line {line} becomes `{text}`.",
            "So line {line} has to read `{text}`.",
            "Change line {line} to `{text}`.",
            "I write `{text}` on line {line}.",
        ),
        line=first,
        text=text,
    )
