"""The real Icarus in its sandbox, the shipped tasks, and a small design to reason about by hand."""

import asyncio

import pytest

from ecot.backends.registry import make_backend
from ecot.errors import ToolError
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
        return make_backend("icarus", workers=2)
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
