module saturating_accumulator #(
    parameter int IN_WIDTH  = 8,
    parameter int ACC_WIDTH = 12
) (
    input  logic                        clk,
    input  logic                        rst,
    input  logic                        clear,
    input  logic                        valid,
    input  logic                        subtract,
    input  logic signed [IN_WIDTH-1:0]  sample,
    output logic signed [ACC_WIDTH-1:0] total,
    output logic                        saturated,
    output logic                        at_max,
    output logic                        at_min
);
    localparam logic signed [ACC_WIDTH-1:0] MAX = {1'b0, {(ACC_WIDTH - 1){1'b1}}};
    localparam logic signed [ACC_WIDTH-1:0] MIN = {1'b1, {(ACC_WIDTH - 1){1'b0}}};

    logic signed [ACC_WIDTH:0]   wide;
    logic signed [ACC_WIDTH-1:0] limited;
    logic                        too_big;
    logic                        too_small;

    assign wide      = subtract ? total - sample : total + sample;
    assign too_big   = wide > MAX;
    assign too_small = wide < MIN;

    always_comb begin
        if (too_big)        limited = MAX;
        else if (too_small) limited = MIN;
        else                limited = wide;
    end

    always_ff @(posedge clk) begin
        if (rst || clear) begin
            total     <= '0;
            saturated <= 1'b0;
        end else if (valid) begin
            total <= limited;
            if (too_big || too_small) saturated <= 1'b1;
        end
    end

    assign at_max = (total == MAX);
    assign at_min = (total == MIN);
endmodule
