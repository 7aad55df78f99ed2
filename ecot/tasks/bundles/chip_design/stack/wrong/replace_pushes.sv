module stack #(
    parameter int WIDTH = 8,
    parameter int DEPTH = 6
) (
    input  logic             clk,
    input  logic             rst,
    input  logic             push,
    input  logic             pop,
    input  logic [WIDTH-1:0] data_in,
    output logic [WIDTH-1:0] top,
    output logic [3:0]       depth_used,
    output logic             empty,
    output logic             full,
    output logic             overflow,
    output logic             underflow
);
    logic [WIDTH-1:0] entries [0:DEPTH-1];
    logic [3:0]       top_index;
    logic [3:0]       write_index;
    logic             replace;
    logic             grow;
    logic             shrink;

    assign empty       = (depth_used == 4'd0);
    assign full        = (depth_used == DEPTH);
    assign top_index   = depth_used - 4'd1;
    assign replace     = 1'b0;
    assign grow        = push && !full && !replace;
    assign shrink      = pop && !push && !empty;
    assign write_index = replace ? top_index : depth_used;

    always_ff @(posedge clk) begin
        if (grow || replace) begin
            entries[write_index] <= data_in;
        end
    end

    always_ff @(posedge clk) begin
        if (rst) begin
            depth_used <= 4'd0;
            overflow   <= 1'b0;
            underflow  <= 1'b0;
        end else begin
            overflow  <= push && !pop && full;
            underflow <= pop && !push && empty;
            if (grow)        depth_used <= depth_used + 4'd1;
            else if (shrink) depth_used <= depth_used - 4'd1;
        end
    end

    assign top = empty ? '0 : entries[top_index];
endmodule
