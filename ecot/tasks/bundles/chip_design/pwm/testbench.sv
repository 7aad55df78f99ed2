`timescale 1ns/1ps

module testbench;
    `define INPUTS $sformatf("rst=%b enable=%b invert=%b duty=%0d", rst, enable, invert, duty)
    `include "scoreboard.sv"

    logic       clk = 0;
    logic       rst = 1;
    logic       enable = 0;
    logic       invert = 0;
    logic [4:0] duty = 0;
    wire        out, period_end;
    wire  [4:0] active_duty;

    pwm #(.WIDTH(4)) dut (
        .clk(clk), .rst(rst), .enable(enable), .invert(invert), .duty(duty),
        .out(out), .period_end(period_end), .active_duty(active_duty)
    );

    always #5 clk = ~clk;

    int position = 0;
    int level = 0;
    bit high;

    task automatic cycle(input bit next_rst, input bit next_enable, input bit next_invert, input logic [4:0] next_duty);
        rst = next_rst;
        enable = next_enable;
        invert = next_invert;
        duty = next_duty;
        #2;
        high = enable && position < level;
        `CHECK(0, out, (high != invert));
        `CHECK(1, period_end, (enable && position == 15));
        @(posedge clk);
        if (rst) begin
            position = 0;
            level = 0;
        end else begin
            if (!enable || position == 15) level = (duty > 16) ? 16 : duty;
            position = enable ? (position + 1) % 16 : 0;
        end
        @(negedge clk);
        `CHECK(2, active_duty, level);
        end_sample();
    endtask

    logic [31:0] draw;

    initial begin
        repeat (2) @(negedge clk);
        for (int i = 0; i < 40; i = i + 1) cycle(0, 1, 0, 7);
        for (int i = 0; i < 40; i = i + 1) cycle(0, 1, 1, 16);
        for (int i = 0; i < 40; i = i + 1) cycle(0, 1, 0, 25);
        for (int i = 0; i < 40; i = i + 1) cycle(0, 1, 0, 0);
        cycle(0, 0, 1, 31);
        cycle(0, 0, 0, 3);
        for (int i = 0; i < 20; i = i + 1) cycle(0, 1, 0, i);
        cycle(1, 1, 0, 9);
        for (int i = 0; i < 600; i = i + 1) begin
            draw = random_word();
            cycle(draw[7:0] == 0, draw[13:8] != 0, i[6], draw >> 16);
        end
        finish_test();
    end
endmodule
