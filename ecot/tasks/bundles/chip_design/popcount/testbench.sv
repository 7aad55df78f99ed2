`timescale 1ns/1ps

module testbench;
    `define INPUTS $sformatf("value=12'b%b", value)
    `include "scoreboard.sv"

    logic [11:0] value;
    wire  [3:0]  ones, longest_run, lowest;
    wire         parity, majority, balanced;

    popcount #(.WIDTH(12)) dut (
        .value(value), .ones(ones), .parity(parity), .majority(majority), .balanced(balanced),
        .longest_run(longest_run), .lowest(lowest)
    );

    int          number, longest, bottom;
    logic [11:0] rest;

    task automatic model();
        // Each step clears the lowest bit that is set.
        number = 0;
        rest = value;
        while (rest != 0) begin
            rest = rest & (rest - 1);
            number = number + 1;
        end
        // Each step shortens every run by one.
        longest = 0;
        rest = value;
        while (rest != 0) begin
            rest = rest & (rest << 1);
            longest = longest + 1;
        end
        bottom = 0;
        while (bottom < 12 && (value & (1 << bottom)) == 0) bottom = bottom + 1;
    endtask

    task automatic try(input logic [11:0] next_value);
        value = next_value;
        #10;
        model();
        `CHECK(0, ones, number);
        `CHECK(1, parity, (number % 2));
        `CHECK(2, majority, (number >= 7));
        `CHECK(3, balanced, (number == 6));
        `CHECK(4, longest_run, longest);
        `CHECK(5, lowest, bottom);
        end_sample();
    endtask

    initial begin
        try(12'h000);
        try(12'hfff);
        try(12'b0111_0011_0100);
        for (int i = 0; i < 12; i = i + 1) try(12'h001 << i);
        for (int i = 0; i < 12; i = i + 1) try(12'hfff << i);
        for (int i = 0; i < 150; i = i + 1) try(random_word() >> 8);
        finish_test();
    end
endmodule
