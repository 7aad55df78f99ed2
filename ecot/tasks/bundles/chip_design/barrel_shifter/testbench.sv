`timescale 1ns/1ps

module testbench;
    `define INPUTS $sformatf("value=16'h%h amount=%0d mode=%0d", value, amount, mode)
    `include "scoreboard.sv"

    logic [15:0] value;
    logic [3:0]  amount;
    logic [1:0]  mode;
    wire  [15:0] result;
    wire         lost, zero;

    barrel_shifter dut (.value(value), .amount(amount), .mode(mode), .result(result), .lost(lost), .zero(zero));

    // One place at a time, as often as asked.
    logic [15:0] work;
    bit          dropped;

    task automatic model();
        work = value;
        dropped = 0;
        for (int i = 0; i < amount; i = i + 1)
            case (mode)
                0: begin
                    dropped = dropped | work[15];
                    work = {work[14:0], 1'b0};
                end
                1: begin
                    dropped = dropped | work[0];
                    work = {1'b0, work[15:1]};
                end
                2: begin
                    dropped = dropped | work[0];
                    work = {work[15], work[15:1]};
                end
                default: work = {work[0], work[15:1]};
            endcase
    endtask

    task automatic try(input logic [15:0] next_value, input logic [3:0] next_amount, input logic [1:0] next_mode);
        value = next_value;
        amount = next_amount;
        mode = next_mode;
        #10;
        model();
        `CHECK(0, result, work);
        `CHECK(1, lost, dropped);
        `CHECK(2, zero, (work == 0));
        end_sample();
    endtask

    logic [31:0] draw;

    initial begin
        for (int i = 0; i < 64; i = i + 1) try(16'h8001, i, i >> 4);
        for (int i = 0; i < 150; i = i + 1) begin
            draw = random_word();
            try(draw[31:16] & (i % 3 == 0 ? 16'hff00 : 16'hffff), draw, draw >> 4);
        end
        finish_test();
    end
endmodule
