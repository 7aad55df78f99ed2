`timescale 1ns/1ps

module testbench;
    `define INPUTS $sformatf("rst=%b push=%b pop=%b data_in=8'h%h", rst, push, pop, data_in)
    `include "scoreboard.sv"

    logic       clk = 0;
    logic       rst = 1;
    logic       push = 0;
    logic       pop = 0;
    logic [7:0] data_in = 0;
    wire  [7:0] data_out;
    wire        full, empty;
    wire  [3:0] level;

    sync_fifo #(.WIDTH(8), .DEPTH(8)) dut (
        .clk(clk), .rst(rst), .push(push), .pop(pop), .data_in(data_in),
        .data_out(data_out), .full(full), .empty(empty), .level(level)
    );

    always #5 clk = ~clk;

    // The model numbers all words ever accepted; entry n lies at n modulo 256.
    logic [7:0] history [0:255];
    logic [7:0] oldest = 0;
    logic [7:0] newest = 0;
    int         count = 0;
    bit         accept_push, accept_pop;

    task automatic model_edge();
        accept_push = push && count < 8;
        accept_pop = pop && count > 0;
        if (rst) begin
            oldest = newest;
            count = 0;
        end else begin
            history[newest] = data_in;
            newest = newest + accept_push;
            oldest = oldest + accept_pop;
            count = count + accept_push - accept_pop;
        end
    endtask

    task automatic cycle(input bit next_rst, input bit next_push, input bit next_pop);
        rst = next_rst;
        push = next_push;
        pop = next_pop;
        data_in = random_word() >> 16;
        @(posedge clk);
        model_edge();
        @(negedge clk);
        `CHECK(0, data_out, (count == 0 ? 8'd0 : history[oldest]));
        `CHECK(1, full, (count == 8));
        `CHECK(2, empty, (count == 0));
        `CHECK(3, level, count);
        end_sample();
    endtask

    int traffic;

    initial begin
        @(negedge clk);
        cycle(1, 0, 0);
        cycle(0, 0, 1);
        cycle(0, 1, 1);
        for (int i = 0; i < 10; i = i + 1) cycle(0, 1, 0);
        cycle(0, 1, 1);
        cycle(0, 1, 1);
        for (int i = 0; i < 10; i = i + 1) cycle(0, 0, 1);
        // Random traffic that drifts between filling and draining.
        for (int i = 0; i < 400; i = i + 1) begin
            traffic = random_word() >> 8;
            cycle((traffic % 97) == 0, ((traffic >> 8) % 8) < (((i / 50) % 2) ? 6 : 3), ((traffic >> 16) % 8) < 4);
        end
        finish_test();
    end
endmodule
