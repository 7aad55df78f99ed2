`timescale 1ns/1ps

module testbench;
    `define INPUTS $sformatf("a=8'h%h b=8'h%h op=%0d", a, b, op)
    `include "scoreboard.sv"

    logic [7:0] a, b;
    logic [2:0] op;
    wire  [7:0] result;
    wire        carry, zero, negative;

    alu #(.WIDTH(8)) dut (
        .a(a), .b(b), .op(op), .result(result), .carry(carry), .zero(zero), .negative(negative)
    );

    logic [7:0] want_result;
    logic       want_carry;
    int         signed_a, signed_b;

    task automatic model();
        signed_a = (a < 128) ? a : a - 256;
        signed_b = (b < 128) ? b : b - 256;
        want_carry = 0;
        if (op == 0) begin
            want_result = (a + b) % 256;
            want_carry = (a + b) > 255;
        end else if (op == 1) begin
            want_result = (a + 256 - b) % 256;
            want_carry = a < b;
        end else if (op == 2) want_result = a & b;
        else if (op == 3) want_result = a | b;
        else if (op == 4) want_result = (a | b) & ~(a & b);
        else if (op == 5) want_result = (signed_a < signed_b) ? 1 : 0;
        else if (op == 6) begin
            want_result = (a * 2) % 256;
            want_carry = a >= 128;
        end else begin
            want_result = a / 2;
            want_carry = a % 2;
        end
    endtask

    task automatic try(input logic [7:0] next_a, input logic [7:0] next_b, input logic [2:0] next_op);
        a = next_a;
        b = next_b;
        op = next_op;
        #10;
        model();
        `CHECK(0, result, want_result);
        `CHECK(1, carry, want_carry);
        `CHECK(2, zero, (want_result == 0));
        `CHECK(3, negative, (want_result >= 128));
        end_sample();
    endtask

    initial begin
        for (int code = 0; code < 8; code = code + 1) begin
            try(8'h00, 8'h00, code);
            try(8'hff, 8'h01, code);
            try(8'h80, 8'h7f, code);
            try(8'h7f, 8'h80, code);
            try(8'h55, 8'h55, code);
            for (int i = 0; i < 40; i = i + 1) try(random_word() >> 8, random_word() >> 8, code);
        end
        finish_test();
    end
endmodule
