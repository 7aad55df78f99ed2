"""Consistent renaming of what the outside cannot see."""

from __future__ import annotations

import re
from random import Random

from ecot.synthesis.mechanical.variation.rewriting import replace_spans
from ecot.synthesis.verilog.design import Declared, Design, DriverKind, Role, read_design

_SYNONYMS: dict[str, tuple[str, ...]] = {
    "count": ("cnt", "counter", "ctr"),
    "cnt": ("count", "counter", "ctr"),
    "counter": ("count", "cnt", "ctr"),
    "state": ("st", "fsm", "phase"),
    "next": ("nxt", "n"),
    "nxt": ("next", "n"),
    "index": ("idx", "pos", "slot"),
    "idx": ("index", "pos", "slot"),
    "ptr": ("pointer", "pos"),
    "wptr": ("wr_ptr", "wr_pos", "wp"),
    "rptr": ("rd_ptr", "rd_pos", "rp"),
    "write": ("wr", "w"),
    "read": ("rd", "r"),
    "wr": ("write", "w"),
    "rd": ("read", "r"),
    "pointer": ("ptr", "pos"),
    "difference": ("diff", "delta"),
    "memory": ("mem", "ram", "storage"),
    "doubled": ("twice", "wide", "pair"),
    "rotated": ("turned", "shifted", "rot"),
    "mem": ("ram", "memory", "storage"),
    "shift": ("sh", "shreg", "shifter", "sr"),
    "shreg": ("shift", "sr", "shifter"),
    "data": ("dat", "word", "payload", "value"),
    "sum": ("total", "acc", "result", "added"),
    "carry": ("c", "cy", "carries"),
    "bit": ("bitno", "b", "pos"),
    "bits": ("nbits", "width", "len"),
    "valid": ("vld", "ok", "avail"),
    "last": ("prev", "latest", "final"),
    "prev": ("last", "old", "before"),
    "tmp": ("temp", "mid", "partial"),
    "temp": ("tmp", "mid", "partial"),
    "mask": ("msk", "filter", "enable_mask"),
    "grant": ("gnt", "winner", "pick"),
    "req": ("request", "asks", "want"),
    "crc": ("rem", "lfsr", "checksum"),
    "fb": ("feedback", "tap", "invert"),
    "feedback": ("fb", "tap", "fbk"),
    "baud": ("bit_time", "tick_cnt", "divider"),
    "div": ("divider", "prescale", "ratio"),
    "tick": ("strobe", "pulse", "step"),
    "timer": ("delay", "wait_cnt", "clock_cnt"),
    "sync": ("s", "ff", "stage"),
    "meta": ("ff1", "first", "sync0"),
    "acc": ("accu", "sum", "total"),
    "busy": ("active", "running", "in_use"),
    "done": ("finished", "ready_flag", "complete"),
    "idle": ("wait", "rest", "quiet"),
    "diff": ("delta", "difference", "gap"),
    "res": ("result", "outcome", "value"),
    "result": ("res", "outcome", "value"),
    "product": ("prod", "mul", "result"),
    "level": ("fill", "depth", "used"),
}
_REGISTER_SUFFIXES = ("_q", "_r", "_reg", "_ff")
_WIRE_SUFFIXES = ("_w", "_c", "_comb")
_RENAMED = (Role.SIGNAL, Role.STATE, Role.CONSTANT, Role.LOCAL)
_STATE_PREFIXES = ("S_", "ST_", "STATE_")


def rename_internals(code: str, kept: str, rng: Random) -> str:
    """Rename internal signals, states and local parameters, each everywhere; words of `kept` stay as they are."""
    design = read_design(code)
    fixed = set(re.findall(r"[A-Za-z_]\w*", kept))
    taken = {design.tree.text(node) for node in design.tree.of("simple_identifier")} | fixed
    clocked = {n for d in design.drivers if d.kind is DriverKind.CLOCKED for n in d.targets}
    suffixes = (rng.choice(("", "", *_REGISTER_SUFFIXES)), rng.choice(("", "", "", *_WIRE_SUFFIXES)))
    prefix = rng.choice(("", *_STATE_PREFIXES))
    table: dict[str, str] = {}
    for item in design.having(*_RENAMED):
        if item.name in fixed:
            continue
        suffix = suffixes[0] if item.name in clocked else suffixes[1]
        new = _new_name(item, suffix, prefix, rng)
        if new != item.name and new not in taken:
            table[item.name] = new
            taken.add(new)
    return replace_spans(code, _occurrences(design, table))


def _occurrences(design: Design, table: dict[str, str]) -> list[tuple[int, int, str]]:
    spans = []
    for node in design.tree.of("simple_identifier"):
        outer = node.parent
        if (
            outer is not None
            and outer.type == "named_port_connection"
            and outer.child_by_field_name("port_name") == node
        ):
            continue
        name = design.tree.text(node)
        if name in table:
            spans.append((node.start_byte, node.end_byte, table[name]))
    for node in design.tree.of("one_line_comment", "block_comment"):
        old = design.tree.text(node)
        new = re.sub(r"[A-Za-z_]\w*", lambda match: table.get(match[0], match[0]), old)
        spans.append((node.start_byte, node.end_byte, new))
    return spans


def _new_name(item: Declared, suffix: str, prefix: str, rng: Random) -> str:
    if item.role is Role.STATE:
        core = re.sub(r"^(S|ST|STATE)_", "", item.name)
        return prefix + core if prefix and len(core) > 1 else item.name
    if item.role is Role.CONSTANT or len(item.name) < 2:
        return item.name
    parts = item.name.split("_")
    changed = [rng.choice((part, *_SYNONYMS.get(part, ()))) for part in parts]
    stem = "_".join(changed)
    if item.role is Role.LOCAL or stem.endswith(_REGISTER_SUFFIXES):
        return stem
    return stem + suffix
