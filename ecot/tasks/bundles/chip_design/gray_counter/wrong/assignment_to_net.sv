module gray_counter #(
    parameter int WIDTH = 4
) (
    input  logic             clk,
    input  logic             rst_n,
    input  logic             enable,
    input  logic             clear,
    output logic [WIDTH-1:0] gray,
    output wire              wrap
);
    localparam logic [WIDTH-1:0] LAST = {WIDTH{1'b1}};

    logic [WIDTH-1:0] count;
    logic [WIDTH-1:0] next_count;

    always_comb begin
        next_count = count;
        if (clear) begin
            next_count = '0;
        end else if (enable) begin
            next_count = count + 1'b1;
        end
    end

    always_ff @(posedge clk or negedge rst_n) begin
        if (!rst_n) begin
            count <= '0;
            wrap  <= 1'b0;
        end else begin
            count <= next_count;
            wrap  <= enable && !clear && (count == LAST);
        end
    end

    assign gray = count ^ (count >> 1);
endmodule
