module bcd_counter (
    input  logic        clk,
    input  logic        rst,
    input  logic        load,
    input  logic        enable,
    input  logic [11:0] load_digits,
    output logic [11:0] digits,
    output logic        carry_out,
    output logic        invalid_load
);
    logic [3:0]  ones;
    logic [3:0]  tens;
    logic [3:0]  hundreds;
    logic        ones_wrap;
    logic        tens_wrap;
    logic        hundreds_wrap;
    logic [11:0] corrected;

    function automatic logic [3:0] clamp(input logic [3:0] digit);
        clamp = (digit > 4'd9) ? 4'd9 : digit;
    endfunction

    assign ones_wrap     = (ones == 4'd9);
    assign tens_wrap     = ones_wrap && (tens == 4'd9);
    assign hundreds_wrap = tens_wrap && (hundreds == 4'd9);
    assign corrected     = {clamp(load_digits[11:8]), clamp(load_digits[7:4]), clamp(load_digits[3:0])};

    always_ff @(posedge clk) begin
        invalid_load <= 1'b0;
        if (rst) begin
            {hundreds, tens, ones} <= 12'h000;
        end else if (load) begin
            {hundreds, tens, ones} <= corrected;
            invalid_load           <= (corrected != load_digits);
        end else if (enable) begin
            ones <= ones_wrap ? 4'd0 : ones + 4'd1;
            if (ones_wrap) tens <= (tens == 4'd9) ? 4'd0 : tens + 4'd1;
            if (tens == 4'd9) hundreds <= (hundreds == 4'd9) ? 4'd0 : hundreds + 4'd1;
        end
    end

    assign digits    = {hundreds, tens, ones};
    assign carry_out = enable && !load && hundreds_wrap;
endmodule
