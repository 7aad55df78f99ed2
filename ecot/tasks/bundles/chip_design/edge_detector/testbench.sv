`timescale 1ns/1ps

module testbench;
    `define INPUTS $sformatf("rst_n=%b signal_in=%b clear_count=%b", rst_n, signal_in, clear_count)
    `include "scoreboard.sv"

    logic       clk = 0;
    logic       rst_n = 0;
    logic       signal_in = 0;
    logic       clear_count = 0;
    wire        level, rising, falling;
    wire  [3:0] edge_count;

    edge_detector dut (
        .clk(clk), .rst_n(rst_n), .signal_in(signal_in), .clear_count(clear_count),
        .level(level), .rising(rising), .falling(falling), .edge_count(edge_count)
    );

    always #5 clk = ~clk;

    // What was sampled one, two and three clock edges ago.
    bit [3:1] past = 0;
    int       counted = 0;

    task automatic check();
        `CHECK(0, level, past[2]);
        `CHECK(1, rising, (past[3:2] == 2'b01));
        `CHECK(2, falling, (past[3:2] == 2'b10));
        `CHECK(3, edge_count, counted);
        end_sample();
    endtask

    task automatic cycle(input bit next_signal, input bit next_clear);
        signal_in = next_signal;
        clear_count = next_clear;
        @(posedge clk);
        if (clear_count) counted = 0;
        else if (past[3] != past[2] && counted < 15) counted = counted + 1;
        past = {past[2:1], signal_in};
        @(negedge clk);
        check();
    endtask

    task automatic pulse_reset();
        rst_n = 0;
        past = 0;
        counted = 0;
        #2 check();
        rst_n = 1;
    endtask

    logic [31:0] draw;

    initial begin
        signal_in = 1;
        repeat (2) @(negedge clk);
        rst_n = 1;
        for (int i = 0; i < 6; i = i + 1) cycle(1, 0);
        for (int i = 0; i < 6; i = i + 1) cycle(0, 0);
        for (int i = 0; i < 40; i = i + 1) cycle(i, 0);
        cycle(1, 1);
        cycle(0, 1);
        for (int i = 0; i < 300; i = i + 1) begin
            draw = random_word();
            if (i % 90 == 60) pulse_reset();
            cycle(draw[9:8] == 0 ? ~signal_in : signal_in, draw[4:0] == 0);
        end
        finish_test();
    end
endmodule
