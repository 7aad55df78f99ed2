`timescale 1ns/1ps

module testbench;
    `define INPUTS $sformatf("rst=%b start=%b lsb_first=%b data=8'h%h", rst, start, lsb_first, data)
    `include "scoreboard.sv"

    localparam int PHASE = 2;

    logic       clk = 0;
    logic       rst = 1;
    logic       start = 0;
    logic       lsb_first = 0;
    logic [7:0] data = 0;
    wire        cs_n, sclk, mosi, ready;
    wire  [3:0] bits_left;

    spi_shift_out #(.HALF(PHASE)) dut (
        .clk(clk), .rst(rst), .start(start), .lsb_first(lsb_first), .data(data),
        .cs_n(cs_n), .sclk(sclk), .mosi(mosi), .ready(ready), .bits_left(bits_left)
    );

    always #5 clk = ~clk;

    // How many cycles of the transfer are over; negative while idle.
    int         elapsed = -1;
    logic [7:0] octet = 0;
    bit         low_first = 0;
    int         number;

    task automatic model_edge();
        if (rst) elapsed = -1;
        else if (elapsed >= 0) begin
            elapsed = elapsed + 1;
            if (elapsed == 16 * PHASE) elapsed = -1;
        end else if (start) begin
            elapsed = 0;
            octet = data;
            low_first = lsb_first;
        end
        number = elapsed / (2 * PHASE);
    endtask

    task automatic cycle(input bit next_rst, input bit next_start, input bit next_order, input logic [7:0] next_data);
        rst = next_rst;
        start = next_start;
        lsb_first = next_order;
        data = next_data;
        @(posedge clk);
        model_edge();
        @(negedge clk);
        `CHECK(0, cs_n, (elapsed < 0));
        `CHECK(1, sclk, (elapsed >= 0 && elapsed % (2 * PHASE) >= PHASE));
        `CHECK(2, mosi, (elapsed < 0 ? 1'b0 : octet[low_first ? number : 7 - number]));
        `CHECK(3, ready, (elapsed < 0));
        `CHECK(4, bits_left, (elapsed < 0 ? 0 : 8 - number));
        end_sample();
    endtask

    logic [31:0] draw;

    initial begin
        repeat (2) @(negedge clk);
        for (int i = 0; i < 3; i = i + 1) cycle(0, 0, 1, 8'hff);
        cycle(0, 1, 0, 8'hc5);
        for (int i = 0; i < 36; i = i + 1) cycle(0, 0, 1, 8'h00);
        cycle(0, 1, 1, 8'hc5);
        for (int i = 0; i < 70; i = i + 1) cycle(0, 1, 0, 8'h3a);
        cycle(1, 1, 0, 8'hff);
        for (int i = 0; i < 900; i = i + 1) begin
            draw = random_word();
            cycle(draw[7:0] == 0, draw[9:8] != 0, draw[10], draw >> 16);
        end
        finish_test();
    end
endmodule
