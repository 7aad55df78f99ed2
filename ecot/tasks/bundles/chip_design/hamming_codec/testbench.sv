`timescale 1ns/1ps

module testbench;
    `define INPUTS $sformatf("data=4'b%b received=8'b%b", data, received)
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

    // What each received word means: the code words themselves and all that differ from one in a single bit.
    bit         exact [0:255];
    bit         near [0:255];
    logic [3:0] nearest [0:255];
    logic [2:0] position;

    task automatic fill_tables();
        for (int i = 0; i < 256; i = i + 1) nearest[i] = {i[7:5], i[3]};
        for (int value = 0; value < 16; value = value + 1) begin
            exact[word_of(value)] = 1;
            for (int i = 0; i < 8; i = i + 1) begin
                near[word_of(value) ^ (1 << i)] = 1;
                nearest[word_of(value) ^ (1 << i)] = value;
            end
        end
    endtask

    task automatic try(input logic [3:0] next_data, input logic [7:0] next_received);
        data = next_data;
        received = next_received;
        #10;
        position = 0;
        for (int i = 1; i < 8; i = i + 1) if (received[i]) position = position ^ i;
        `CHECK(0, code, word_of(data));
        `CHECK(1, decoded, nearest[received]);
        `CHECK(2, syndrome, position);
        `CHECK(3, single_error, near[received]);
        `CHECK(4, double_error, (!near[received] && !exact[received]));
        end_sample();
    endtask

    initial begin
        fill_tables();
        for (int i = 0; i < 256; i = i + 1) try(i >> 4, i);
        for (int i = 0; i < 64; i = i + 1) try(random_word() >> 8, random_word() >> 8);
        finish_test();
    end
endmodule
