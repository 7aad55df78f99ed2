"""Fault registers in words: what the Cortex-M4 says about a fault, as ARMv7-M (DDI 0403E, B3.2.15) defines the bits."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from ecot.errors import ToolError
from ecot.outcomes import Label

_CFSR_BITS = {
    0: ("instruction fetch from a forbidden address", "segv"),
    1: ("access to a forbidden address", "segv"),
    3: ("stack overflow while leaving an exception", "segv"),
    4: ("stack overflow while entering an exception", "stack"),
    5: ("forbidden address while saving the FPU's registers", "stack"),
    8: ("bus error on an instruction fetch", "bus"),
    9: ("bus error on a data access", "bus"),
    10: ("delayed bus error on a write", "bus"),
    11: ("bus error while leaving an exception", "bus"),
    12: ("bus error while pushing the stack frame", "stack"),
    13: ("bus error while saving the FPU's registers", "stack"),
    16: ("undefined instruction", "usage_fault"),
    17: ("invalid state: a jump to an address without the Thumb bit", "usage_fault"),
    18: ("invalid return from an exception", "usage_fault"),
    19: ("coprocessor not available", "usage_fault"),
    24: ("unaligned access", "usage_fault"),
    25: ("division by zero", "usage_fault"),
}
_MMFAR_VALID, _BFAR_VALID = 1 << 7, 1 << 15
_VECTOR_TABLE, _DEBUG_EVENT = 1 << 1, 1 << 31

_STACK_REACH = range(0x1800_0000, 0x2000_0000)
"""Below the stack, which lies at the bottom of RAM, nothing is mapped."""

_NULL_PAGES = range(0, 0x0200_0000)
_HANDLER_GUARD = range(0x2001_8000, 0x2001_8100)
_SEMIHOSTING = 0xBEAB
_BREAKPOINT = 0xBE00


@dataclass(frozen=True)
class Fault:
    """A fault as the bench's handler reported it."""

    cfsr: int
    hfsr: int
    bfar: int
    mmfar: int
    sp: int
    pc: int
    """Where it happened; all ones if the stack frame could not be read."""
    instruction: int
    """The half-word there, 0 if unknown."""

    @property
    def address(self) -> int | None:
        """What was accessed, if the processor knows."""
        if self.cfsr & _MMFAR_VALID:
            return self.mmfar
        return self.bfar if self.cfsr & _BFAR_VALID else None


def parse_fault(detail: str) -> Fault:
    """Read the nine words of a fault line.

    Raises:
        ToolError: there are not nine.
    """
    words = [int(word, 16) for word in detail.split()]
    if len(words) != 9:
        raise ToolError(f"the bench's fault line holds {len(words)} words instead of 9: {detail!r}")
    _, cfsr, hfsr, bfar, mmfar, sp, pc, instruction, _ = words
    return Fault(cfsr, hfsr, bfar, mmfar, sp, pc, instruction)


def classify_fault(fault: Fault) -> tuple[Label, str]:
    """Label and subcode."""
    if fault.hfsr & _DEBUG_EVENT or fault.instruction & 0xFF00 == _BREAKPOINT:
        if fault.instruction == _SEMIHOSTING:
            return Label.PROTOCOL_VIOLATION, "sandbox_denial"
        return Label.RUNTIME_ERROR, "exception"
    address = fault.address
    if fault.sp in _STACK_REACH or (address is not None and (address in _STACK_REACH or address in _HANDLER_GUARD)):
        return Label.MEMORY_FAULT, "stack"
    for bit, (_, subcode) in _CFSR_BITS.items():
        if fault.cfsr >> bit & 1:
            return Label.MEMORY_FAULT, subcode
    return Label.MEMORY_FAULT, "bus" if fault.hfsr & _VECTOR_TABLE else ""


def describe_fault(fault: Fault, image: bytes) -> str:
    """The lines that a fault handler of a careful firmware prints."""
    reasons = [text for bit, (text, _) in _CFSR_BITS.items() if fault.cfsr >> bit & 1]
    if fault.hfsr & _DEBUG_EVENT:
        reasons = ["semihosting call" if fault.instruction == _SEMIHOSTING else "breakpoint without a debugger"]
    address = fault.address
    where = function_at(image, fault.pc)
    head = f"HardFault: {', '.join(reasons) or 'no reason given'}"
    if address is not None:
        head += f" at address 0x{address:08x}"
        if address in _NULL_PAGES:
            head += " (null pointer)"
    lines = [head + (f", in function '{where}'" if where else "")]
    if classify_fault(fault)[1] == "stack":
        lines.append("the stack overflowed")
    lines.append(f"CFSR=0x{fault.cfsr:08x} HFSR=0x{fault.hfsr:08x}")
    return "\n".join(lines) + "\n"


def function_at(image: bytes, pc: int) -> str:
    """The candidate's function that holds an address of flash, or the empty string.

    Reads the symbol table of a 32-bit little-endian ELF file (System V ABI, chapter 4).
    """
    offset, entry_size, count = struct.unpack_from("<I10xHH", image, 32)
    sections = [struct.unpack_from("<10I", image, offset + index * entry_size) for index in range(count)]
    for section in sections:
        if section[1] != 2:  # SHT_SYMTAB
            continue
        names = sections[section[6]][4]
        for at in range(section[4], section[4] + section[5], 16):
            name, value, size, info, _, _ = struct.unpack_from("<IIIBBH", image, at)
            if info & 15 == 2 and value & ~1 <= pc < (value & ~1) + max(size, 2):
                start = names + name
                text = image[start : image.index(b"\0", start)].decode("utf-8", "replace")
                hidden = text.startswith(("bench_", "report_", "put_", "draw", "line_")) or value >= 0x0808_0000
                return "" if hidden else text
    return ""
