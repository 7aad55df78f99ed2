`timescale 1ns/1ps

module testbench;
    `include "scoreboard.sv"

    logic [3:0] data;
    logic [7:0] received;
    wire  [7:0] code;
    wire  [3:0] decoded;
    wire  [2:0] syndrome;
    wire        single_error, double_error;

    hamming_codec dut (
        .data(data), .received(received), .code(code), .decoded(decoded), .syndrome(syndrome),
        .single_error(single_error), .double_error(double_error)
    );

    // The sixteen code words by linear combination of four, written out.
    function automatic logic [7:0] word_of(input logic [3:0] value);
        word_of = 8'h00;
        if (value[0]) word_of = word_of ^ 8'b0000_1111;
        if (value[1]) word_of = word_of ^ 8'b0011_0011;
        if (value[2]) word_of = word_of ^ 8'b0101_0101;
        if (value[3]) word_of = word_of ^ 8'b1001_0110;
    endfunction

    // Nearest code word by search: at most one bit away, or none.
    int         distance;
    bit         near, exact;
    logic [3:0] nearest;
    logic [2:0] position;
    logic [7:0] difference;

    task automatic model();
        near = 0;
        exact = 0;
        position = 0;
        nearest = {received[7:5], received[3]};
        for (int value = 0; value < 16; value = value + 1) begin
            difference = received ^ word_of(value);
            distance = 0;
            for (int i = 0; i < 8; i = i + 1) distance = distance + difference[i];
            if (distance == 0) exact = 1;
            if (distance == 1) begin
                near = 1;
                nearest = value;
            end
        end
        for (int i = 1; i < 8; i = i + 1) if (received[i]) position = position ^ i;
    endtask

    task automatic try(input logic [3:0] next_data, input logic [7:0] next_received);
        data = next_data;
        received = next_received;
        #10;
        model();
        show_inputs($sformatf("data=4'b%b received=8'b%b", data, received));
        `CHECK(0, code, word_of(data));
        `CHECK(1, decoded, nearest);
        `CHECK(2, syndrome, position);
        `CHECK(3, single_error, near);
        `CHECK(4, double_error, (!near && !exact));
        end_sample();
    endtask

    initial begin
        for (int i = 0; i < 256; i = i + 1) try(i >> 4, i);
        for (int i = 0; i < 64; i = i + 1) try(random_word() >> 8, random_word() >> 8);
        finish_test();
    end
endmodule
