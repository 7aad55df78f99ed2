"""What an object file holds, as `nm` and `objdump` tell: symbols, sections and instructions, and what is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass

from ecot.backends.code_optimization.settings import MEBIBYTE

_SECTION = re.compile(r"^ +\d+ (.+?) +([0-9a-f]{8,}) +[0-9a-f]{8,} +[0-9a-f]{8,} +[0-9a-f]{8,} +2\*\*\d+ *(.*)$")
_INSTRUCTION = re.compile(r"^ *([0-9a-f]+):\t(.*)$")
_TARGET = re.compile(r"\b([0-9a-f]+) <[^>]*>")
_PADDING = re.compile(r"^(?:cs |data16 |repz )*nop|^xchg +%ax,%ax$|^endbr64$")
_PREFIX = re.compile(r"^(?:lock|repn?z?|repnz|data16|addr32|cs|ds|es|ss|rex\S*|notrack|bnd) +")
_WIDE = re.compile(r"%zmm|%k[0-7]|%[xyz]mm(?:1[6-9]|2\d|3[01])")

_REFUSED = frozenset(
    "syscall sysenter sysexit sysret sysretq int int1 int3 into iret iretq in ins insb insl insw out outs outsb outsl "
    "outsw cpuid rdtsc rdtscp rdpmc rdmsr wrmsr rdrand rdseed rdpid xgetbv xsetbv wrfsbase wrgsbase rdfsbase rdgsbase "
    "lret lretq lcall ljmp hlt cli sti".split()
)
"""They reach the system, or tell one machine or run from another."""

_CONSTRUCTORS = (".init", ".fini", ".init_array", ".fini_array", ".preinit_array", ".ctors", ".dtors")

CLIENT_REQUEST = bytes.fromhex("48c1c70348c1c70d48c1c73d48c1c733")
"""How a program talks to valgrind, which would let it stop the count."""


@dataclass(frozen=True)
class Section:
    """A section of an object file."""

    name: str
    size: int
    flags: frozenset[str]


@dataclass(frozen=True)
class Listing:
    """An object file, taken apart."""

    sections: tuple[Section, ...]
    instructions: tuple[str, ...]
    """In order, without addresses and padding; the target of a jump is the number of the instruction there."""
    defined: frozenset[str]
    """Global symbols."""
    indirect: frozenset[str]
    """Symbols whose address a function of the program would choose."""


def read_listing(dump: str, symbols: str) -> Listing:
    """Parse the output of `objdump -h -d -w --no-show-raw-insn` and of `nm`."""
    sections = []
    addresses: dict[tuple[int, str], int] = {}
    raw: list[tuple[int, str]] = []
    block = 0
    for line in dump.splitlines():
        if match := _SECTION.match(line):
            sections.append(Section(match[1], int(match[2], 16), frozenset(match[3].replace(",", " ").split())))
        elif line.startswith("Disassembly of section"):
            block += 1
        elif match := _INSTRUCTION.match(line):
            text = " ".join(match[2].partition("#")[0].split())
            addresses[block, match[1]] = len(raw)
            if text and not _PADDING.match(text):
                raw.append((block, text))
    instructions = tuple(_with_targets(text, block, addresses) for block, text in raw)
    defined: set[str] = set()
    indirect: set[str] = set()
    for line in symbols.splitlines():
        words = line.split()
        if len(words) >= 2 and words[-2] in "TDBRVWCSGi":
            (indirect if words[-2] == "i" else defined).add(words[-1])
    return Listing(tuple(sections), instructions, frozenset(defined), frozenset(indirect))


def _with_targets(text: str, block: int, addresses: dict[tuple[int, str], int]) -> str:
    return _TARGET.sub(lambda match: f"@{addresses.get((block, match[1]), match[1])}", text)


def refused_parts(listing: Listing, program: bytes) -> list[str]:
    """What a program is not run for at all, in words; empty for an ordinary one."""
    refused = {f"instruction '{name}'" for text in listing.instructions if (name := mnemonic(text)) in _REFUSED}
    refused |= {"segment override" for text in listing.instructions if "%fs:" in text or "%gs:" in text}
    for section in listing.sections:
        if "CODE" in section.flags and "READONLY" not in section.flags:
            refused.add(f"writable code (section {section.name})")
        if section.name.startswith(_CONSTRUCTORS) and section.size:
            refused.add(f"code that runs before the program (section {section.name})")
    if CLIENT_REQUEST in program:
        refused.add("client request to valgrind")
    return sorted(refused)


def unsupported_parts(listing: Listing) -> list[str]:
    """What this processor level or this environment does not have."""
    found = {f"'{text}' is not in x86-64-v3" for text in listing.instructions if _WIDE.search(text)}
    found |= {f"indirect function '{name}'" for name in listing.indirect}
    found |= {f"thread-local data (section {s.name})" for s in listing.sections if "THREAD_LOCAL" in s.flags}
    return sorted(found)[:10]


def static_mib(listing: Listing) -> int:
    """Memory that code and data take up before the first call, MiB."""
    return sum(section.size for section in listing.sections if "ALLOC" in section.flags) // MEBIBYTE


def mnemonic(text: str) -> str:
    """The instruction's name without prefixes."""
    while True:
        shorter = _PREFIX.sub("", text)
        if shorter == text:
            return text.split(" ")[0]
        text = shorter
