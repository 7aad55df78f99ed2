`timescale 1ns/1ps

module testbench;
    `define INPUTS $sformatf("rst_n=%b valid=%b bit_in=%b", rst_n, valid, bit_in)
    `include "scoreboard.sv"

    logic       clk = 0;
    logic       rst_n = 0;
    logic       valid = 0;
    logic       bit_in = 0;
    wire        found;
    wire  [2:0] progress;
    wire  [3:0] total;

    sequence_detector dut (
        .clk(clk), .rst_n(rst_n), .valid(valid), .bit_in(bit_in),
        .found(found), .progress(progress), .total(total)
    );

    always #5 clk = ~clk;

    // The last four bits, and how many there have been.
    logic [3:0] recent = 0;
    int         seen = 0;
    int         occurrences = 0;
    bit         hit = 0;
    int         longest;

    task automatic check();
        if (seen >= 4 && recent == 4'b1011) longest = 4;
        else if (seen >= 3 && recent[2:0] == 3'b101) longest = 3;
        else if (seen >= 2 && recent[1:0] == 2'b10) longest = 2;
        else if (seen >= 1 && recent[0] == 1'b1) longest = 1;
        else longest = 0;
        `CHECK(0, found, hit);
        `CHECK(1, progress, longest);
        `CHECK(2, total, occurrences);
        end_sample();
    endtask

    task automatic cycle(input bit next_valid, input bit next_bit);
        valid = next_valid;
        bit_in = next_bit;
        @(posedge clk);
        hit = 0;
        if (valid) begin
            recent = {recent[2:0], bit_in};
            seen = seen + 1;
            hit = seen >= 4 && recent == 4'b1011;
            if (hit && occurrences < 15) occurrences = occurrences + 1;
        end
        @(negedge clk);
        check();
    endtask

    task automatic pulse_reset();
        rst_n = 0;
        seen = 0;
        occurrences = 0;
        hit = 0;
        #2 check();
        rst_n = 1;
    endtask

    localparam logic [0:26] STREAM = 27'b1011_0110_1110_1010_1101_0100_101;
    logic [31:0] draw;

    initial begin
        repeat (2) @(negedge clk);
        rst_n = 1;
        for (int i = 0; i < 27; i = i + 1) cycle(1, STREAM[i]);
        for (int i = 0; i < 27; i = i + 1) begin
            cycle(1, STREAM[i]);
            cycle(0, !STREAM[i]);
        end
        pulse_reset();
        for (int i = 0; i < 60; i = i + 1) cycle(1, i % 3 != 1);
        for (int i = 0; i < 400; i = i + 1) begin
            draw = random_word();
            if (i % 130 == 100) pulse_reset();
            cycle(draw[2:0] != 0, draw[3] || draw[4]);
        end
        finish_test();
    end
endmodule
