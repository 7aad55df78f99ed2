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
from dataclasses import dataclass
from importlib import resources

from ecot.backends.chip_design.lexer import KEYWORDS, TokenKind, header_identifiers, tokenise, words
from ecot.errors import DataError
from ecot.tasks.bundle import Task

TOP = "testbench"
"""Name of the testbench's module in a bundle."""

CANDIDATE_FILE = "candidate.sv"

_SUFFIX_MARK, _NONCE_MARK, _SEED_MARK = "\0suffix\0", "\0nonce\0", "\0seed\0"

_TIMESCALE = re.compile(r"`timescale\s+(1|10|100)\s*(s|ms|us|ns|ps|fs)\b")
_EXPONENTS = {"s": 0, "ms": -3, "us": -6, "ns": -9, "ps": -12, "fs": -15}

_INCLUDE = re.compile(r'^[ \t]*`include[ \t]+"scoreboard\.sv"[ \t]*$', re.MULTILINE)
_METHODS = words(
    "push_back push_front pop_back pop_front size delete insert name next prev first last num len substr getc putc "
    "toupper tolower atoi itoa hextoa bintoa"
)
"""Built-in methods of queues, enumerations and strings keep their names after a dot."""
_DIRECTIVES = words("`timescale `default_nettype `ifdef `ifndef `elsif `undef `unconnected_drive `begin_keywords")
"""The rest of their line is no identifier of the testbench."""


@dataclass(frozen=True)
class TimeUnit:
    """The first number of a `timescale` directive."""

    magnitude: int
    name: str

    def show(self, count: int) -> str:
        """A time in words."""
        return f"{count * self.magnitude} {self.name}"

    def nanoseconds(self, count: int) -> float:
        """A time in nanoseconds."""
        return count * self.magnitude * 1e9 * 10.0 ** _EXPONENTS[self.name]


@dataclass(frozen=True)
class Bench:
    """A testbench made for one candidate."""

    text: str
    suffix: str
    """Ends every identifier of the testbench; to be taken out of everything that is shown."""
    folder: str
    """Where the harness keeps its files; unknown to the candidate, which could otherwise include them."""
    nonce: str
    """Stands in every true line of the verdict."""
    time_unit: TimeUnit
    """In which the testbench counts time."""

    @property
    def top(self) -> str:
        """The module to elaborate."""
        return TOP + self.suffix

    @property
    def file_name(self) -> str:
        """The testbench inside the sandbox."""
        return f"{self.folder}/bench.sv"

    @property
    def program(self) -> str:
        """The compiled program inside the sandbox."""
        return f"{self.folder}/program.vvp"


def make_bench(task: Task, code: str, secret: bytes) -> Bench:
    """Build the testbench for one candidate.

    Raises:
        DataError: the task has no testbench, or its reference does not define the entry module.
    """
    suffix = "_" + _derive(secret, task, code, "names")[:24]
    folder = "harness" + _derive(secret, task, code, "files")[:24]
    nonce = _derive(secret, task, code, "nonce")[:32]
    # xorshift never leaves zero.
    seed = int(_derive(secret, task, code, "stimuli")[:8], 16) or 1
    text = _template(task.id, task.entry, task.reference, tuple(sorted(task.hidden.items())))
    text = text.replace(_SUFFIX_MARK, suffix).replace(_NONCE_MARK, f'"{nonce}"').replace(_SEED_MARK, f"32'h{seed:08x}")
    return Bench(text, suffix, folder, nonce, _time_unit(text))


def _derive(secret: bytes, task: Task, code: str, purpose: str) -> str:
    message = "\0".join((purpose, task.hash, code)).encode("utf-8", "surrogatepass")
    return hmac.new(secret, message, hashlib.sha256).hexdigest()


def _time_unit(text: str) -> TimeUnit:
    match = _TIMESCALE.search(text)
    return TimeUnit(int(match[1]), match[2]) if match else TimeUnit(1, "s")


@functools.lru_cache(maxsize=4096)
def _template(task_id: str, entry: str, reference: str, hidden: tuple[tuple[str, str], ...]) -> str:
    """The testbench with marks where a candidate's suffix, nonce and seed go; the same for all candidates of a task."""
    interface = header_identifiers(reference, entry)
    if interface is None:
        raise DataError(f"task {task_id}: the reference defines no module {entry!r} (key 'entry')")
    files = {name: text for name, text in hidden if name.endswith((".sv", ".v"))}
    if "testbench.sv" not in files:
        raise DataError(f"task {task_id}: no hidden file 'testbench.sv'")
    # The testbench last: what it instantiates is then known, whatever the tool's order of elaboration.
    text = "\n".join([*(files[name] for name in sorted(files) if name != "testbench.sv"), files["testbench.sv"]])
    return _rename(_INCLUDE.sub(lambda _: _scoreboard(), text), interface | {entry})


@functools.cache
def _scoreboard() -> str:
    return (resources.files("ecot.backends.chip_design") / "scoreboard.sv").read_text("utf-8")


def _rename(text: str, keep: frozenset[str]) -> str:
    """Mark every identifier but keywords and those of the candidate's interface; drop comments."""
    values = {"ECOT_SEED": _SEED_MARK, "ECOT_NONCE": _NONCE_MARK}
    pieces = []
    macros = []
    previous = ""
    in_directive = False
    for token in tokenise(text):
        piece = token.text
        if token.kind is TokenKind.COMMENT:
            # A line comment ends before its newline, so that line structure stays.
            piece = " "
        elif token.kind is TokenKind.DIRECTIVE:
            in_directive = piece in _DIRECTIVES
        elif token.kind is TokenKind.SPACE and "\n" in piece:
            in_directive = False
        elif token.kind is TokenKind.WORD and not in_directive:
            if previous == "`define":
                macros.append(piece)
            elif piece in values:
                piece = values[piece]
            elif not (piece in KEYWORDS or piece in keep or (previous == "." and piece in _METHODS)):
                piece += _SUFFIX_MARK
        if token.kind not in (TokenKind.SPACE, TokenKind.COMMENT):
            previous = token.text
        pieces.append(piece)
    # The candidate is compiled after this text and must inherit none of its macros or directives.
    pieces.append("\n" + "".join(f"`undef {name}\n" for name in macros) + "`default_nettype wire\n")
    return "".join(pieces)
