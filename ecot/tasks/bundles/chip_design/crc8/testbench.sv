`timescale 1ns/1ps

module testbench;
    `define INPUTS $sformatf("rst=%b start=%b valid=%b data=8'h%h", rst, start, valid, data)
    `include "scoreboard.sv"

    logic       clk = 0;
    logic       rst = 1;
    logic       start = 0;
    logic       valid = 0;
    logic [7:0] data = 0;
    wire  [7:0] crc, count;
    wire        match;

    crc8 #(.POLY(8'h07)) dut (
        .clk(clk), .rst(rst), .start(start), .valid(valid), .data(data), .crc(crc), .count(count), .match(match)
    );

    always #5 clk = ~clk;

    logic [15:0] remainder;
    logic [7:0]  value = 0;
    int          taken = 0;

    // Polynomial division of the whole 16-bit dividend, the polynomial written out.
    task automatic absorb(input logic [7:0] octet);
        remainder = {value ^ octet, 8'h00};
        for (int i = 15; i >= 8; i = i - 1)
            if (remainder[i]) remainder = remainder ^ (16'h0107 << (i - 8));
        value = remainder[7:0];
        taken = (taken + 1) % 256;
    endtask

    task automatic cycle(input bit next_rst, input bit next_start, input bit next_valid, input logic [7:0] next_data);
        rst = next_rst;
        start = next_start;
        valid = next_valid;
        data = next_data;
        @(posedge clk);
        if (rst || start) begin
            value = 0;
            taken = 0;
        end
        if (valid && !rst) absorb(data);
        @(negedge clk);
        `CHECK(0, crc, value);
        `CHECK(1, count, taken);
        `CHECK(2, match, (taken != 0 && value == 0));
        end_sample();
    endtask

    logic [31:0] draw;

    initial begin
        repeat (2) @(negedge clk);
        // "123456789" gives 8'hf4 by the published check value; appending it leaves zero.
        for (int i = 0; i < 9; i = i + 1) cycle(0, i == 0, 1, 8'h31 + i);
        cycle(0, 0, 1, 8'hf4);
        cycle(0, 0, 0, 8'hff);
        cycle(0, 0, 1, 8'h80);
        cycle(0, 1, 0, 8'h80);
        for (int i = 0; i < 260; i = i + 1) cycle(0, 0, 1, i);
        for (int i = 0; i < 150; i = i + 1) begin
            draw = random_word();
            cycle(draw[5:0] == 0, draw[9:6] == 0, draw[11:10] != 0, draw[19:12] == 0 ? value : draw >> 20);
        end
        finish_test();
    end
endmodule
