`timescale 1ns/1ps

module testbench;
    `define INPUTS $sformatf("rst=%b push=%b pop=%b data_in=8'h%h", rst, push, pop, data_in)
    `include "scoreboard.sv"

    logic       clk = 0;
    logic       rst = 1;
    logic       push = 0;
    logic       pop = 0;
    logic [7:0] data_in = 0;
    wire  [7:0] top;
    wire  [3:0] depth_used;
    wire        empty, full, overflow, underflow;

    stack #(.WIDTH(8), .DEPTH(6)) dut (
        .clk(clk), .rst(rst), .push(push), .pop(pop), .data_in(data_in), .top(top), .depth_used(depth_used),
        .empty(empty), .full(full), .overflow(overflow), .underflow(underflow)
    );

    always #5 clk = ~clk;

    // The top entry is the lowest octet; zeros come in from above.
    logic [63:0] held = 0;
    int          number = 0;
    bit          over = 0;
    bit          under = 0;

    task automatic model_edge();
        over = 0;
        under = 0;
        if (rst) begin
            held = 0;
            number = 0;
        end else if (push && pop && number > 0) held[7:0] = data_in;
        else if (push) begin
            if (number == 6) over = 1;
            else begin
                held = (held << 8) | data_in;
                number = number + 1;
            end
        end else if (pop) begin
            if (number == 0) under = 1;
            else begin
                held = held >> 8;
                number = number - 1;
            end
        end
    endtask

    task automatic cycle(input bit next_rst, input bit next_push, input bit next_pop);
        rst = next_rst;
        push = next_push;
        pop = next_pop;
        data_in = random_word() >> 12;
        @(posedge clk);
        model_edge();
        @(negedge clk);
        `CHECK(0, top, held[7:0]);
        `CHECK(1, depth_used, number);
        `CHECK(2, empty, (number == 0));
        `CHECK(3, full, (number == 6));
        `CHECK(4, overflow, over);
        `CHECK(5, underflow, under);
        end_sample();
    endtask

    logic [31:0] draw;

    initial begin
        @(negedge clk);
        cycle(1, 0, 0);
        cycle(0, 0, 1);
        cycle(0, 1, 1);
        for (int i = 0; i < 7; i = i + 1) cycle(0, 1, 0);
        cycle(0, 1, 1);
        cycle(0, 0, 0);
        for (int i = 0; i < 8; i = i + 1) cycle(0, 0, 1);
        for (int i = 0; i < 500; i = i + 1) begin
            draw = random_word();
            cycle(draw[6:0] == 0, draw[9:7] < (i[6] ? 5 : 3), draw[12:10] < (i[6] ? 3 : 5));
        end
        finish_test();
    end
endmodule
