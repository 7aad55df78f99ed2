`timescale 1ns/1ps

module testbench;
    `define INPUTS $sformatf("rst_n=%b enable=%b divisor=%0d", rst_n, enable, divisor)
    `include "scoreboard.sv"

    logic       clk = 0;
    logic       rst_n = 0;
    logic       enable = 0;
    logic [3:0] divisor = 0;
    wire        clk_out, pulse;
    wire  [3:0] position;

    clock_divider dut (
        .clk(clk), .rst_n(rst_n), .enable(enable), .divisor(divisor),
        .clk_out(clk_out), .pulse(pulse), .position(position)
    );

    always #5 clk = ~clk;

    int period = 1;
    int place = 0;
    bit high = 0;
    bit begins = 0;

    task automatic check();
        `CHECK(0, clk_out, high);
        `CHECK(1, pulse, begins);
        `CHECK(2, position, place);
        end_sample();
    endtask

    task automatic cycle(input bit next_enable, input logic [3:0] next_divisor);
        enable = next_enable;
        divisor = next_divisor;
        @(posedge clk);
        begins = 0;
        if (enable) begin
            place = place + 1;
            if (place == period) begin
                place = 0;
                period = (divisor == 0) ? 1 : divisor;
                begins = 1;
            end
            high = 2 * place < period;
        end
        @(negedge clk);
        check();
    endtask

    task automatic pulse_reset();
        rst_n = 0;
        period = 1;
        place = 0;
        high = 0;
        begins = 0;
        #2 check();
        rst_n = 1;
    endtask

    logic [31:0] draw;

    initial begin
        repeat (2) @(negedge clk);
        rst_n = 1;
        for (int i = 0; i < 3; i = i + 1) cycle(0, 5);
        for (int value = 0; value < 16; value = value + 1)
            for (int i = 0; i < 20; i = i + 1) cycle(1, value);
        cycle(0, 3);
        pulse_reset();
        for (int i = 0; i < 400; i = i + 1) begin
            draw = random_word();
            if (i % 120 == 90) pulse_reset();
            cycle(draw[2:0] != 0, draw >> 8);
        end
        finish_test();
    end
endmodule
