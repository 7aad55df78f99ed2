`timescale 1ns/1ps

module testbench;
    `define INPUTS $sformatf("a=8'h%h b=8'h%h carry_in=%b subtract=%b", a, b, carry_in, subtract)
    `include "scoreboard.sv"

    logic [7:0] a, b;
    logic       carry_in, subtract;
    wire  [7:0] sum;
    wire        carry_out, overflow, propagate;

    adder_carry #(.WIDTH(8)) dut (
        .a(a), .b(b), .carry_in(carry_in), .subtract(subtract),
        .sum(sum), .carry_out(carry_out), .overflow(overflow), .propagate(propagate)
    );

    int         second, total, signed_total;
    logic [7:0] passing;

    function automatic int signed_value(input int value);
        signed_value = (value < 128) ? value : value - 256;
    endfunction

    task automatic try(input logic [7:0] next_a, input logic [7:0] next_b, input bit next_carry, input bit next_sub);
        a = next_a;
        b = next_b;
        carry_in = next_carry;
        subtract = next_sub;
        #10;
        second = subtract ? 255 - b : b;
        total = a + second + carry_in;
        signed_total = signed_value(a) + signed_value(second) + carry_in;
        passing = a ^ second;
        `CHECK(0, sum, (total % 256));
        `CHECK(1, carry_out, (total > 255));
        `CHECK(2, overflow, (signed_total > 127 || signed_total < -128));
        `CHECK(3, propagate, (passing == 8'hff));
        end_sample();
    endtask

    logic [31:0] draw;

    initial begin
        for (int mode = 0; mode < 4; mode = mode + 1) begin
            try(8'h00, 8'h00, mode, mode >> 1);
            try(8'hff, 8'h00, mode, mode >> 1);
            try(8'hff, 8'hff, mode, mode >> 1);
            try(8'h7f, 8'h01, mode, mode >> 1);
            try(8'h80, 8'h80, mode, mode >> 1);
            try(8'haa, 8'h55, mode, mode >> 1);
            try(8'haa, 8'haa, mode, mode >> 1);
        end
        for (int i = 0; i < 300; i = i + 1) begin
            draw = random_word();
            try(draw, draw >> 8, draw >> 16, draw >> 17);
        end
        finish_test();
    end
endmodule
