"""A small SystemVerilog tokeniser: enough to rename identifiers and to read a module's header."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum


class TokenKind(StrEnum):
    """What a piece of source is."""

    COMMENT = "comment"
    STRING = "string"
    DIRECTIVE = "directive"
    """A backtick with its name: a compiler directive or a macro."""
    SYSTEM = "system"
    """A system task or function, `$display`."""
    ESCAPED = "escaped"
    """An escaped identifier, backslash to white space."""
    NUMBER = "number"
    WORD = "word"
    """A keyword or an identifier."""
    SPACE = "space"
    SYMBOL = "symbol"


@dataclass(frozen=True)
class Token:
    """A piece of source; the texts of all tokens joined give the source back."""

    kind: TokenKind
    text: str


_TOKEN = re.compile(
    r"""
      (?P<comment>//[^\n]*|/\*.*?(?:\*/|\Z))
    | (?P<string>"(?:\\.|[^"\\])*(?:"|\Z))
    | (?P<directive>`(?:[A-Za-z_][\w$]*|`|"))
    | (?P<system>\$[A-Za-z_$][\w$]*)
    | (?P<escaped>\\\S+)
    | (?P<number>(?:\d[\d_]*)?'[sS]?[bodhBODH]\s*[0-9a-fA-FxXzZ?_]+|'[01xXzZ](?!\w)|\d[\w.]*)
    | (?P<word>[A-Za-z_][\w$]*)
    | (?P<space>\s+)
    | (?P<symbol>.)
    """,
    re.VERBOSE | re.DOTALL,
)


def words(text: str) -> frozenset[str]:
    """A set of names written as plain text."""
    return frozenset(text.split())


def tokenise(source: str) -> Iterator[Token]:
    """Split a source; nothing is lost, whatever it holds."""
    for match in _TOKEN.finditer(source):
        assert match.lastgroup is not None
        yield Token(TokenKind(match.lastgroup), match[0])


def header_identifiers(source: str, module: str) -> frozenset[str] | None:
    """The identifiers in a module's parameter and port lists; None if there is no such module.

    For a header that names its ports only (Verilog-1995 style) the ports are found, parameters of the body are not.
    """
    tokens = [t for t in tokenise(source) if t.kind not in (TokenKind.SPACE, TokenKind.COMMENT)]
    for start in range(len(tokens) - 1):
        if tokens[start].text == "module" and tokens[start + 1].text == module:
            break
    else:
        return None
    found = set()
    for token in tokens[start + 2 :]:
        if token.text == ";":
            break
        if token.kind is TokenKind.WORD and token.text not in KEYWORDS:
            found.add(token.text)
    return frozenset(found)


KEYWORDS = words(
    """
    accept_on alias always always_comb always_ff always_latch and assert assign assume automatic before begin bind bins
    binsof bit break buf bufif0 bufif1 byte case casex casez cell chandle checker class clocking cmos config const
    constraint context continue cover covergroup coverpoint cross deassign default defparam design disable dist do edge
    else end endcase endchecker endclass endclocking endconfig endfunction endgenerate endgroup endinterface endmodule
    endpackage endprimitive endprogram endproperty endsequence endspecify endtable endtask enum event eventually expect
    export extends extern final first_match for force foreach forever fork forkjoin function generate genvar global
    highz0 highz1 if iff ifnone ignore_bins illegal_bins implements implies import incdir include initial inout input
    inside instance int integer interconnect interface intersect join join_any join_none large let liblist library
    local localparam logic longint macromodule matches medium modport module nand negedge nettype new nexttime nmos nor
    noshowcancelled not notif0 notif1 null or output package packed parameter pmos posedge primitive priority program
    property protected pull0 pull1 pulldown pullup pulsestyle_ondetect pulsestyle_onevent pure rand randc randcase
    randsequence rcmos real realtime ref reg reject_on release repeat restrict return rnmos rpmos rtran rtranif0
    rtranif1 s_always s_eventually s_nexttime s_until s_until_with scalared sequence shortint shortreal showcancelled
    signed small soft solve specify specparam static string strong strong0 strong1 struct super supply0 supply1
    sync_accept_on sync_reject_on table tagged task this throughout time timeprecision timeunit tran tranif0 tranif1
    tri tri0 tri1 triand trior trireg type typedef union unique unique0 unsigned until until_with untyped use uwire var
    vectored virtual void wait wait_order wand weak weak0 weak1 while wildcard wire with within wor xnor xor
    """
)
"""Reserved words of IEEE 1800-2012, annex B."""
