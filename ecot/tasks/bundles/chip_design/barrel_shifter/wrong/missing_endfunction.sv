module barrel_shifter (
    input  logic [15:0] value,
    input  logic [3:0]  amount,
    input  logic [1:0]  mode,
    output logic [15:0] result,
    output logic        lost,
    output logic        zero
);
    localparam logic [1:0] LEFT       = 2'd0;
    localparam logic [1:0] ARITHMETIC = 2'd2;
    localparam logic [1:0] ROTATE     = 2'd3;

    logic [15:0] source;
    logic [15:0] by_1;
    logic [15:0] by_2;
    logic [15:0] by_4;
    logic [15:0] by_8;
    logic [15:0] fill;
    logic [15:0] dropped;

    function automatic logic [15:0] reverse(input logic [15:0] word);
        for (int i = 0; i < 16; i = i + 1) begin
            reverse[i] = word[15 - i];
        end

    // A shift to the left is a shift to the right of the reversed word.
    assign source = (mode == LEFT) ? reverse(value) : value;
    assign fill   = {16{(mode == ARITHMETIC) && value[15]}};

    assign by_1 = amount[0] ? {(mode == ROTATE) ? source[0] : fill[0], source[15:1]} : source;
    assign by_2 = amount[1] ? {(mode == ROTATE) ? by_1[1:0] : fill[1:0], by_1[15:2]} : by_1;
    assign by_4 = amount[2] ? {(mode == ROTATE) ? by_2[3:0] : fill[3:0], by_2[15:4]} : by_2;
    assign by_8 = amount[3] ? {(mode == ROTATE) ? by_4[7:0] : fill[7:0], by_4[15:8]} : by_4;

    assign dropped = source & ~(16'hFFFF << amount);
    assign result  = (mode == LEFT) ? reverse(by_8) : by_8;
    assign lost    = (mode != ROTATE) && (dropped != 16'h0000);
    assign zero    = (result == 16'h0000);
endmodule
