"""The real Icarus in its sandbox, the shipped tasks, and a small design to reason about by hand."""

import asyncio
import re

import pytest

from ecot.backends.registry import make_backend
from ecot.errors import ToolError
from ecot.synthesis.verilog.design import read_design
from ecot.tasks.registry import load_tasks

COUNTER = """\
module counter #(
    parameter int WIDTH = 4
) (
    input  logic             clk,
    input  logic             rst,
    input  logic             enable,
    output logic [WIDTH-1:0] count,
    output logic             full,
    output wire              odd
);
    localparam logic [3:0] LAST = 4'd9;
    logic [WIDTH-1:0] following;

    assign full = (count == LAST);
    assign odd  = count[0];

    always_comb begin
        following = count;
        if (enable) begin
            following = full ? 4'd0 : count + 4'd1;
        end
    end

    always_ff @(posedge clk) begin
        if (rst) begin
            count <= 4'd0;
        end else begin
            count <= following;
        end
    end
endmodule
"""


@pytest.fixture(scope="session")
def counter():
    """A decade counter, 31 lines: `odd` and `full` follow `count`, which follows `following`."""
    return COUNTER


@pytest.fixture(scope="session")
def icarus():
    try:
        return make_backend("icarus", workers=2, lint=False, synthesis=False)
    except ToolError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def tasks():
    return load_tasks("builtin:chip_design")


@pytest.fixture(scope="session")
def execute(icarus):
    """Run one candidate and wait for it."""

    def run(task, code):
        return asyncio.run(icarus.execute(task, code))

    return run


def _contradictions(text, code):
    """What the first thinking says about its answer and the answer does not hold."""
    found, answer, design = [], " ".join(code.split()), read_design(code)
    told = re.sub(r'"[^"]*"', "", text)
    for piece in re.findall(r"`([^`]+)`", told):
        port = re.fullmatch(r"(\w+)(\[.*\])", piece)
        parts = port.groups() if port else [piece.removesuffix(" ...")]
        found += [part for part in parts if " ".join(part.split()) not in answer]
    arms = [sum(child.type == "case_item" for child in node.children) for node in design.tree.of("case_statement")]
    if not design.tree.has_errors:
        found += [f"{n} arms" for n in re.findall(r"(\d+) arms", told) if int(n) not in arms]
    # A register is said to follow an edge that its own block has; a module without a state has no clock.
    registered = [(clock, names) for names, clock in re.findall(r"([^.]+) (?:is|are) registered on `([^`]+)`", told)]
    registered += re.findall(r"[Oo]n `(\w+edge \w+)`(?: the block updates|:) ([^.;]+)", told)
    for clock, names in registered:
        blocks = [p for p in design.processes if set(re.findall(r"`(\w+)`", names)) & p.targets]
        if blocks and clock not in {" ".join(event) for process in blocks for event in process.events}:
            found.append(f"{names} on {clock}")
    if re.search("no state|purely combinational|Nothing has to be stored", told) and "<=" in re.sub(
        r"\(.*?\)", "", code
    ):
        found.append("no state")
    return found


@pytest.fixture(scope="session")
def contradictions():
    """`contradictions(first thinking, code of its answer)`: what is said and not so."""
    return _contradictions
