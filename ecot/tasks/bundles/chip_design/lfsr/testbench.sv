`timescale 1ns/1ps

module testbench;
    `define INPUTS $sformatf("rst=%b load=%b enable=%b seed=8'h%h", rst, load, enable, seed)
    `include "scoreboard.sv"

    logic       clk = 0;
    logic       rst = 1;
    logic       load = 0;
    logic       enable = 0;
    logic [7:0] seed = 0;
    wire  [7:0] state;
    wire        bit_out, repeated;
    wire  [7:0] steps;

    lfsr dut (
        .clk(clk), .rst(rst), .load(load), .enable(enable), .seed(seed),
        .state(state), .bit_out(bit_out), .steps(steps), .repeated(repeated)
    );

    always #5 clk = ~clk;

    localparam logic [7:0] TAPS = 8'hb8;

    logic [7:0] held = 8'ha5;
    logic [7:0] first = 8'ha5;
    int         taken = 0;

    task automatic check();
        `CHECK(0, state, held);
        `CHECK(1, bit_out, held[7]);
        `CHECK(2, steps, (taken > 255 ? 255 : taken));
        `CHECK(3, repeated, (taken > 0 && held == first));
        end_sample();
    endtask

    task automatic cycle(input bit next_rst, input bit next_load, input bit next_enable, input logic [7:0] value);
        rst = next_rst;
        load = next_load;
        enable = next_enable;
        seed = value;
        @(posedge clk);
        if (rst) begin
            held = 8'ha5;
            first = held;
            taken = 0;
        end else if (load) begin
            held = (value == 0) ? 1 : value;
            first = held;
            taken = 0;
        end else if (enable) begin
            held = (held << 1) | (^(held & TAPS));
            taken = taken + 1;
        end
        @(negedge clk);
        check();
    endtask

    logic [31:0] draw;

    initial begin
        repeat (2) @(negedge clk);
        for (int i = 0; i < 300; i = i + 1) cycle(0, 0, 1, 0);
        cycle(0, 0, 0, 8'h12);
        cycle(0, 1, 1, 8'h00);
        for (int i = 0; i < 20; i = i + 1) cycle(0, 0, 1, 0);
        cycle(1, 1, 1, 8'h55);
        for (int i = 0; i < 200; i = i + 1) begin
            draw = random_word();
            cycle(draw[6:0] == 0, draw[11:8] == 0, draw[14:12] != 0, draw >> 16);
        end
        finish_test();
    end
endmodule
