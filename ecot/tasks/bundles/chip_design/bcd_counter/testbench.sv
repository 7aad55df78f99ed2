`timescale 1ns/1ps

module testbench;
    `define INPUTS $sformatf("rst=%b load=%b enable=%b load_digits=12'h%h", rst, load, enable, load_digits)
    `include "scoreboard.sv"

    logic        clk = 0;
    logic        rst = 1;
    logic        load = 0;
    logic        enable = 0;
    logic [11:0] load_digits = 0;
    wire  [11:0] digits;
    wire         carry_out, invalid_load;

    bcd_counter dut (
        .clk(clk), .rst(rst), .load(load), .enable(enable), .load_digits(load_digits),
        .digits(digits), .carry_out(carry_out), .invalid_load(invalid_load)
    );

    always #5 clk = ~clk;

    int number = 0;
    bit replaced = 0;

    function automatic int digit(input logic [3:0] code);
        digit = (code > 9) ? 9 : code;
    endfunction

    task automatic cycle(input bit next_rst, input bit next_load, input bit next_enable,
                         input logic [11:0] next_digits);
        rst = next_rst;
        load = next_load;
        enable = next_enable;
        load_digits = next_digits;
        #2;
        `CHECK(0, carry_out, (enable && !load && number == 999));
        @(posedge clk);
        replaced = 0;
        if (rst) number = 0;
        else if (load) begin
            number = 100 * digit(load_digits[11:8]) + 10 * digit(load_digits[7:4]) + digit(load_digits[3:0]);
            replaced = load_digits[11:8] > 9 || load_digits[7:4] > 9 || load_digits[3:0] > 9;
        end else if (enable) number = (number + 1) % 1000;
        @(negedge clk);
        `CHECK(1, digits, ((number / 100) * 256 + ((number / 10) % 10) * 16 + number % 10));
        `CHECK(2, invalid_load, replaced);
        end_sample();
    endtask

    logic [31:0] draw;

    initial begin
        repeat (2) @(negedge clk);
        cycle(1, 0, 0, 0);
        for (int i = 0; i < 112; i = i + 1) cycle(0, 0, 1, 0);
        cycle(0, 1, 1, 12'h989);
        for (int i = 0; i < 14; i = i + 1) cycle(0, 0, 1, 0);
        cycle(0, 1, 0, 12'hafc);
        cycle(0, 1, 1, 12'h999);
        cycle(1, 0, 1, 0);
        cycle(0, 1, 0, 12'h999);
        cycle(0, 0, 0, 12'h123);
        cycle(0, 0, 1, 12'h123);
        cycle(1, 1, 1, 12'hfff);
        for (int i = 0; i < 400; i = i + 1) begin
            draw = random_word();
            cycle(draw[5:0] == 0, draw[9:6] == 0, draw[12:10] != 0, draw[13] ? 12'h990 | draw[19:16] : draw >> 16);
        end
        finish_test();
    end
endmodule
