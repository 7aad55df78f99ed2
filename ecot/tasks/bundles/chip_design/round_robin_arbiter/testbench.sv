`timescale 1ns/1ps

module testbench;
    `define INPUTS $sformatf("rst=%b enable=%b request=4'b%b", rst, enable, request)
    `include "scoreboard.sv"

    logic       clk = 0;
    logic       rst = 1;
    logic       enable = 0;
    logic [3:0] request = 0;
    wire  [3:0] grant;
    wire  [1:0] grant_index;
    wire        valid;

    round_robin_arbiter dut (
        .clk(clk), .rst(rst), .enable(enable), .request(request),
        .grant(grant), .grant_index(grant_index), .valid(valid)
    );

    always #5 clk = ~clk;

    int first = 0;
    int chosen;

    task automatic choose();
        chosen = -1;
        for (int step = 3; step >= 0; step = step - 1)
            if (enable && request[(first + step) % 4]) chosen = (first + step) % 4;
    endtask

    task automatic cycle(input bit next_rst, input bit next_enable, input logic [3:0] next_request);
        rst = next_rst;
        enable = next_enable;
        request = next_request;
        #2;
        choose();
        `CHECK(0, grant, (chosen < 0 ? 0 : 1 << chosen));
        `CHECK(1, grant_index, (chosen < 0 ? 0 : chosen));
        `CHECK(2, valid, (chosen >= 0));
        end_sample();
        @(posedge clk);
        if (rst) first = 0;
        else if (chosen >= 0) first = (chosen + 1) % 4;
        @(negedge clk);
    endtask

    int draw;

    initial begin
        repeat (2) @(negedge clk);
        for (int i = 0; i < 9; i = i + 1) cycle(0, 1, 4'b1111);
        for (int i = 0; i < 16; i = i + 1) cycle(0, 1, i);
        cycle(0, 0, 4'b1010);
        cycle(0, 1, 4'b1010);
        cycle(1, 1, 4'b1111);
        for (int i = 0; i < 400; i = i + 1) begin
            draw = random_word() >> 8;
            cycle((draw % 61) == 0, ((draw >> 8) % 8) != 0, (draw >> 12));
        end
        finish_test();
    end
endmodule
