`timescale 1ns/1ps

module testbench;
    `define INPUTS $sformatf("rst_n=%b enable=%b clear=%b", rst_n, enable, clear)
    `include "scoreboard.sv"

    logic       clk = 0;
    logic       rst_n = 0;
    logic       enable = 0;
    logic       clear = 0;
    wire  [3:0] gray;
    wire        wrap;

    gray_counter #(.WIDTH(4)) dut (
        .clk(clk), .rst_n(rst_n), .enable(enable), .clear(clear), .gray(gray), .wrap(wrap)
    );

    always #5 clk = ~clk;

    int count = 0;
    bit wrapped = 0;

    // Written out, so that the model shares no formula with the usual solution.
    function automatic logic [3:0] gray_of(input int value);
        case (value)
            0: gray_of = 4'b0000;
            1: gray_of = 4'b0001;
            2: gray_of = 4'b0011;
            3: gray_of = 4'b0010;
            4: gray_of = 4'b0110;
            5: gray_of = 4'b0111;
            6: gray_of = 4'b0101;
            7: gray_of = 4'b0100;
            8: gray_of = 4'b1100;
            9: gray_of = 4'b1101;
            10: gray_of = 4'b1111;
            11: gray_of = 4'b1110;
            12: gray_of = 4'b1010;
            13: gray_of = 4'b1011;
            14: gray_of = 4'b1001;
            default: gray_of = 4'b1000;
        endcase
    endfunction

    task automatic check();
        `CHECK(0, gray, gray_of(count));
        `CHECK(1, wrap, wrapped);
        end_sample();
    endtask

    task automatic cycle(input bit next_enable, input bit next_clear);
        enable = next_enable;
        clear = next_clear;
        @(posedge clk);
        wrapped = enable && !clear && count == 15;
        if (clear) count = 0;
        else if (enable) count = (count == 15) ? 0 : count + 1;
        @(negedge clk);
        check();
    endtask

    task automatic pulse_reset();
        rst_n = 0;
        count = 0;
        wrapped = 0;
        #2 check();
        rst_n = 1;
    endtask

    int draw;

    initial begin
        repeat (2) @(negedge clk);
        rst_n = 1;
        for (int i = 0; i < 40; i = i + 1) cycle(1, 0);
        cycle(0, 0);
        cycle(1, 1);
        for (int i = 0; i < 15; i = i + 1) cycle(1, 0);
        cycle(0, 0);
        cycle(1, 1);
        pulse_reset();
        for (int i = 0; i < 300; i = i + 1) begin
            draw = random_word() >> 8;
            // At fixed places: the number of samples must not depend on the draw.
            if ((i % 71) == 50) pulse_reset();
            cycle(((draw >> 8) % 8) != 0, ((draw >> 12) % 64) == 0);
        end
        finish_test();
    end
endmodule
