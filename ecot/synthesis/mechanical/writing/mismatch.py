"""Reasoning from a failing output, its time and values, to a statement."""

from __future__ import annotations

from random import Random

from ecot.synthesis.mechanical.diagnosis import Reading
from ecot.synthesis.mechanical.implication import Implication
from ecot.synthesis.mechanical.writing.values import read_value, relation
from ecot.synthesis.mechanical.writing.voice import brief, listed, say
from ecot.synthesis.verilog.cone import path_between
from ecot.synthesis.verilog.design import Design, Driver, DriverKind, read_design

_OPENINGS = (
    "`{signal}` is wrong in the simulation: at {time} ns it is {got} and should be {expected}{inputs}.",
    "First mismatch at {time} ns{inputs}: `{signal}` is {got} instead of {expected}.",
    "At {time} ns `{signal}` should be {expected}, but the design gives {got}{inputs}.",
    "{failed} of {samples} samples fail, the first at {time} ns: `{signal}` gives {got}, expected {expected}{inputs}.",
)


def describe_mismatch(reading: Reading, rng: Random, counted: bool) -> str:
    """The failing output with its numbers, what the values tell, and which outputs are right.

    `counted` says that the number of failing samples has been mentioned already.
    """
    first = reading.mismatches[0]
    parts = [
        say(
            rng,
            _OPENINGS[:-1] if counted else _OPENINGS,
            signal=first.signal,
            time=first.time,
            got=first.got,
            expected=first.expected,
            inputs=f" (with {first.inputs})" if first.inputs and len(first.inputs) < 90 else "",
            failed=reading.failed_samples,
            samples=reading.samples,
        )
    ]
    remark = relation(read_value(first.expected), read_value(first.got), rng)
    if remark:
        parts.append(remark)
    if len(reading.mismatches) > 1:
        others = listed((m.signal for m in reading.mismatches[1:]), 4)
        parts.append(say(rng, ("{others} fail{s} too.", "Also wrong: {others}."), others=others, s=_s(reading)))
    if reading.healthy and rng.random() < 0.7:
        names = listed(reading.healthy, 4)
        verb = "is" if len(reading.healthy) == 1 else "are"
        options = ("{names} {verb} right throughout.", "{names} show{s} no mismatch.")
        parts.append(say(rng, options, names=names, verb=verb, s="s" if verb == "is" else ""))
    elif reading.failed_samples == reading.samples and rng.random() < 0.5:
        parts.append("No sample is right, so this is not a corner case.")
    elif reading.samples and reading.failed_samples * 12 < reading.samples:
        parts.append(rng.choice(("Most samples are right, so it is a corner case.", "It happens rarely.")))
    return " ".join(parts)


def _s(reading: Reading) -> str:
    return "s" if len(reading.mismatches) == 2 else ""


def describe_path(code: str, implication: Implication, rng: Random) -> str:
    """How the failing output depends on the statement at fault, read off the code."""
    assert implication.mismatch is not None
    design = read_design(code)
    signal, targets = implication.mismatch.signal, implication.edit.targets
    if signal in targets:
        return _direct(design, signal, rng)
    path = path_between(design, signal, targets)
    if not path:
        return ""
    hops = []
    if not implication.mismatch.expected:
        hops.append(say(rng, ("I start from `{signal}`, which fails too.", "Take `{signal}`."), signal=signal))
    name = signal
    for driver in path[:4]:
        following = _next_name(driver, path, targets)
        hops.append(_hop(code, name, driver, following, rng))
        name = following
    return " ".join(hops)


def _direct(design: Design, signal: str, rng: Random) -> str:
    drivers = [d for d in design.drivers if signal in d.targets and d.kind is not DriverKind.CONSTANT]
    lines = [design.tree.line(driver.start) for driver in drivers]
    if not lines:
        return f"Nothing drives `{signal}`."
    if len(lines) == 1:
        return say(
            rng,
            ("`{signal}` is only driven on line {line}.", "There is one driver of `{signal}`, on line {line}."),
            signal=signal,
            line=lines[0],
        )
    if len(lines) > 5:
        return ""
    listing = ", ".join(str(line) for line in lines[:-1]) + f" and {lines[-1]}"
    return say(
        rng,
        ("`{signal}` is assigned on lines {lines}.", "Lines {lines} write `{signal}`."),
        signal=signal,
        lines=listing,
    )


def _next_name(driver: Driver, path: list[Driver], targets: frozenset[str]) -> str:
    """The name through which a path goes on after a driver."""
    index = path.index(driver)
    onward = path[index + 1].targets if index + 1 < len(path) else targets
    return sorted(driver.reads & onward)[0]


def _hop(code: str, name: str, driver: Driver, following: str, rng: Random) -> str:
    tree = read_design(code).tree
    return say(
        rng,
        (
            "`{name}` comes from line {line}, `{text}`, which depends on `{following}`.",
            "Line {line} (`{text}`) gives `{name}` its value and depends on `{following}`.",
            "On line {line} `{name}` takes its value from `{text}`, so `{following}` matters.",
            "`{name}` follows `{following}` through line {line}, `{text}`.",
        ),
        name=name,
        line=tree.line(driver.start),
        text=brief(tree.line_text(tree.line(driver.start)), 70),
        following=following,
    )
