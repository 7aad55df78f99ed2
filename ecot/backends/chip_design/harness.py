"""Put a task's testbench together so that no candidate can reach into it or forge its verdict.

A candidate shares the simulator with the testbench. Verilog resolves names of scopes, tasks and functions upwards, so a
candidate could call the golden model, or write the verdict, of any testbench whose names it knows. Hence every
identifier of the testbench gets a suffix, and every line of the verdict a nonce; both come from an HMAC of a secret
with task and code. The same inputs give the same names, stimuli and diagnostics; a candidate that holds a name has
another code and so other names.
"""

from __future__ import annotations

import functools
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from ecot.backends.chip_design.lexer import KEYWORDS, TokenKind, header_identifiers, tokenise, words
from ecot.errors import DataError
from ecot.tasks.bundle import Task

TOP = "testbench"
"""Name of the testbench's module in a bundle."""

CANDIDATE_FILE = "candidate.sv"

_INCLUDE = re.compile(r'^[ \t]*`include[ \t]+"scoreboard\.sv"[ \t]*$', re.MULTILINE)
_METHODS = words(
    "push_back push_front pop_back pop_front size delete insert name next prev first last num len substr getc putc "
    "toupper tolower atoi itoa hextoa bintoa"
)
"""Built-in methods of queues, enumerations and strings keep their names after a dot."""


@dataclass(frozen=True)
class Bench:
    """A testbench made for one candidate."""

    text: str
    suffix: str
    """Ends every identifier of the testbench and its file name; to be taken out of everything that is shown."""
    nonce: str
    """Stands in every true line of the verdict."""

    @property
    def top(self) -> str:
        """The module to elaborate."""
        return TOP + self.suffix

    @property
    def file_name(self) -> str:
        """Unknown to the candidate, which could otherwise include the file."""
        return f"bench{self.suffix}.sv"


def make_bench(task: Task, code: str, secret: bytes) -> Bench:
    """Build the testbench for one candidate.

    Raises:
        DataError: the task has no testbench, or its reference does not define the entry module.
    """
    suffix = "_" + _derive(secret, task, code, "names")[:24]
    nonce = _derive(secret, task, code, "nonce")[:32]
    # xorshift never leaves zero.
    seed = int(_derive(secret, task, code, "stimuli")[:8], 16) or 1
    values = {"ECOT_SEED": f"32'h{seed:08x}", "ECOT_NONCE": f'"{nonce}"'}
    interface = header_identifiers(task.reference, task.entry)
    if interface is None:
        raise DataError(f"task {task.id}: the reference defines no module {task.entry!r} (key 'entry')")
    text = _rename(_hidden_text(task), suffix, interface | {task.entry}, values)
    return Bench(text, suffix, nonce)


def harness_source() -> bytes:
    """What decides the verdict besides the tool: goes into the fingerprint."""
    folder = resources.files("ecot.backends.chip_design")
    names = sorted(item.name for item in folder.iterdir() if item.name.endswith((".py", ".sv")))
    return b"".join((folder / name).read_bytes() for name in names)


def _derive(secret: bytes, task: Task, code: str, purpose: str) -> str:
    message = "\0".join((purpose, task.hash, code)).encode("utf-8", "surrogatepass")
    return hmac.new(secret, message, hashlib.sha256).hexdigest()


def _hidden_text(task: Task) -> str:
    files = {name: text for name, text in task.hidden.items() if name.endswith((".sv", ".v"))}
    if "testbench.sv" not in files:
        raise DataError(f"task {task.id}: no hidden file 'testbench.sv'")
    # The testbench last: what it instantiates is then known, whatever the tool's order of elaboration.
    text = "\n".join([*(files[name] for name in sorted(files) if name != "testbench.sv"), files["testbench.sv"]])
    return _INCLUDE.sub(lambda _: _scoreboard(), text)


@functools.cache
def _scoreboard() -> str:
    return (resources.files("ecot.backends.chip_design") / "scoreboard.sv").read_text("utf-8")


def _rename(text: str, suffix: str, keep: frozenset[str], values: Mapping[str, str]) -> str:
    """Suffix every identifier but keywords and those of the candidate's interface; drop comments."""
    pieces = []
    macros = []
    previous = ""
    for token in tokenise(text):
        piece = token.text
        if token.kind is TokenKind.COMMENT:
            # A line comment ends before its newline, so that line structure stays.
            piece = " "
        elif token.kind is TokenKind.WORD:
            if previous == "`define":
                macros.append(piece)
            elif piece in values:
                piece = values[piece]
            elif not (piece in KEYWORDS or piece in keep or (previous == "." and piece in _METHODS)):
                piece += suffix
        if token.kind not in (TokenKind.SPACE, TokenKind.COMMENT):
            previous = token.text
        pieces.append(piece)
    # The candidate is compiled after this text and must inherit none of its macros or directives.
    pieces.append("\n" + "".join(f"`undef {name}\n" for name in macros) + "`default_nettype wire\n")
    return "".join(pieces)
