"""Reasoning from a failing output, its time and values, to a statement."""

from __future__ import annotations

from collections.abc import Collection
from random import Random

from ecot.synthesis.faults import Edit, FaultStack
from ecot.synthesis.mechanical.diagnosis import Mismatch, Reading
from ecot.synthesis.mechanical.implication import Implication
from ecot.synthesis.mechanical.writing.values import read_value, relation
from ecot.synthesis.mechanical.writing.voice import brief, listed, say
from ecot.synthesis.verilog.cone import fan_in, path_between
from ecot.synthesis.verilog.design import Design, Driver, DriverKind, Role, read_design

_OPENINGS = (
    "`{signal}` is wrong in the simulation: at {time} ns it is {got} and should be {expected}{inputs}.",
    "First mismatch at {time} ns{inputs}: `{signal}` is {got} instead of {expected}.",
    "At {time} ns `{signal}` should be {expected}, but the design gives {got}{inputs}.",
    "{failed} of {samples} samples fail, the first at {time} ns: `{signal}` gives {got}, expected {expected}{inputs}.",
)
_FEEDS = (
    "`{signal}` is computed from `{healthy}`, which is right, so the mistake lies after it.",
    "`{healthy}` feeds `{signal}` and is right, so what comes before it is sound.",
)
_SHARES = (
    "`{healthy}` is built on {common} as well and is right, so the mistake is after that.",
    "Since `{healthy}`, which uses {common} too, has no mismatch, I look elsewhere.",
    "{common} also feed{s} `{healthy}`, which is right, so that part is sound.",
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
    if reading.failed_samples == reading.samples:
        parts.append("No sample is right, so this is not a corner case.")
    elif reading.failed_samples * 12 < reading.samples:
        rare = ("Nearly all samples are right, so it is a corner case.", "It takes a rare situation to show it.")
        parts.append(rng.choice(rare))
    return " ".join(parts)


def _s(reading: Reading) -> str:
    return "s" if len(reading.mismatches) == 2 else ""


def describe_path(code: str, implication: Implication, rng: Random) -> str:
    """How the failing output depends on the statement at fault, read off the code."""
    assert implication.mismatch is not None
    design = read_design(code)
    signal, targets = implication.mismatch.signal, implication.edit.targets
    if signal in targets:
        opening = "" if implication.mismatch.expected else _other_output(implication.mismatch, rng) + " "
        return opening + _direct(design, signal, rng)
    path = path_between(design, signal, targets)
    if not path:
        return ""
    hops = []
    if not implication.mismatch.expected:
        hops.append(_other_output(implication.mismatch, rng))
    name = signal
    for driver in path[:4]:
        following = _next_name(driver, path, targets)
        hops.append(_hop(code, name, driver, following, rng))
        name = following
    return " ".join(hops)


def _other_output(mismatch: Mismatch, rng: Random) -> str:
    """Turn to an output that fails later than the first one."""
    options = (
        "I start from `{signal}`, which fails from {time} ns on.",
        "Take `{signal}`, whose first mismatch is at {time} ns.",
        "`{signal}`, wrong since {time} ns, is the easier one to follow.",
    )
    return say(rng, options, signal=mismatch.signal, time=mismatch.time)


def describe_shared(
    stack: FaultStack, applied: Collection[Edit], reading: Reading, implication: Implication, rng: Random
) -> str:
    """What the outputs that are right say: logic that they share with the failing one is in order.

    Said only where it is so: an output may be right although one of the `applied` faults lies behind it.
    """
    assert implication.mismatch is not None
    if not all(edit.targets for edit in applied):
        return ""
    design, correct = read_design(stack.text(applied)), read_design(stack.code)
    signal = implication.mismatch.signal
    faulty = {name for edit in applied for name in edit.targets}
    behind = {name for name in fan_in(design, [signal]) if _internal(design, name)} - {signal}
    for healthy in reading.healthy:
        cone = fan_in(design, [healthy]).keys()
        common = sorted((behind & cone) - {healthy})
        if faulty & (cone | fan_in(correct, [healthy]).keys()):
            continue
        if healthy in behind:
            return say(rng, _FEEDS, signal=signal, healthy=healthy)
        if common:
            s = "s" if len(common) == 1 else ""
            return say(rng, _SHARES, healthy=healthy, common=listed(common, 3), s=s)
    return ""


def _internal(design: Design, name: str) -> bool:
    item = design.names.get(name)
    return item is not None and item.role in (Role.SIGNAL, Role.OUTPUT)


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
