module round_robin_arbiter (
    input  logic       clk,
    input  logic       rst,
    input  logic       enable,
    input  logic [3:0] request,
    output logic [3:0] grant,
    output logic [1:0] grant_index,
    output logic       valid
);
    logic [1:0] pointer;
    logic [7:0] doubled;
    logic [3:0] rotated;
    logic [1:0] offset;

    // Rotate so that the requester with the highest priority stands at bit 0.
    assign doubled = {request, request} >> pointer;
    assign rotated = doubled[3:0];

    always_comb begin
        if (rotated[0])      offset = 2'd0;
        else if (rotated[1]) offset = 2'd1;
        else if (rotated[2]) offset = 2'd2;
        else                 offset = 2'd3;
    end

    assign valid = enable && (request != 4'b0000);

    always_comb begin
        grant       = 4'b0000;
        grant_index = 2'd0;
        if (valid) begin
            grant_index = pointer + offset;
            grant       = 4'b0001 << grant_index;
        end
    end

    always_ff @(posedge clk) begin
        if (rst) begin
            pointer <= 2'd0;
        end else if (request != 4'b0000) begin
            pointer <= grant_index + 2'd1;
        end
    end
endmodule
