module clock_divider (
    input  logic       clk,
    input  logic       rst_n,
    input  logic       enable,
    input  logic [3:0] divisor,
    output logic       clk_out,
    output logic       pulse,
    output logic [3:0] position
);
    logic [3:0] stored;
    logic [3:0] usable;
    logic [3:0] next_stored;
    logic [3:0] next_position;
    logic [4:0] half;
    logic       last;

    assign usable = divisor;
    assign last   = (position == stored - 4'd1);

    always_comb begin
        if (last) begin
            next_position = 4'd0;
            next_stored   = usable;
        end else begin
            next_position = position + 4'd1;
            next_stored   = stored;
        end
    end

    assign half = ({1'b0, next_stored} + 5'd1) >> 1;

    always_ff @(posedge clk or negedge rst_n) begin
        if (!rst_n) begin
            position <= 4'd0;
            stored   <= 4'd1;
            pulse    <= 1'b0;
            clk_out  <= 1'b0;
        end else begin
            pulse <= enable && last;
            if (enable) begin
                position <= next_position;
                stored   <= next_stored;
                clk_out  <= ({1'b0, next_position} < half);
            end
        end
    end
endmodule
