module lfsr (
    input  logic       clk,
    input  logic       rst,
    input  logic       load,
    input  logic       enable,
    input  logic [7:0] seed,
    output logic [7:0] state,
    output logic       bit_out,
    output logic [7:0] steps,
    output logic       repeated
);
    localparam logic [7:0] RESET_STATE = 8'hA5;
    localparam logic [7:0] MAX_STEPS   = 8'xFF;

    logic [7:0] start;
    logic [7:0] usable_seed;
    logic       feedback;

    assign usable_seed = (seed == 8'h00) ? 8'h01 : seed;
    assign feedback    = state[7] ^ state[5] ^ state[4] ^ state[3];

    always_ff @(posedge clk) begin
        if (rst) begin
            state <= RESET_STATE;
            start <= RESET_STATE;
            steps <= 8'd0;
        end else if (load) begin
            state <= usable_seed;
            start <= usable_seed;
            steps <= 8'd0;
        end else if (enable) begin
            state <= {state[6:0], feedback};
            if (steps != MAX_STEPS) begin
                steps <= steps + 8'd1;
            end
        end
    end

    assign bit_out  = state[7];
    assign repeated = (steps != 8'd0) && (state == start);
endmodule
