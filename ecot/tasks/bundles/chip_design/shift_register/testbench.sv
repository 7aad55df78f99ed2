`timescale 1ns/1ps

module testbench;
    `define INPUTS $sformatf("rst=%b mode=%0d serial_left=%b serial_right=%b rotate=%b parallel_in=8'h%h", \
        rst, mode, serial_left, serial_right, rotate, parallel_in)
    `include "scoreboard.sv"

    logic       clk = 0;
    logic       rst = 1;
    logic [1:0] mode = 0;
    logic       serial_left = 0;
    logic       serial_right = 0;
    logic       rotate = 0;
    logic [7:0] parallel_in = 0;
    wire  [7:0] value;
    wire        out_left, out_right, changed;

    shift_register #(.WIDTH(8)) dut (
        .clk(clk), .rst(rst), .mode(mode), .serial_left(serial_left), .serial_right(serial_right), .rotate(rotate),
        .parallel_in(parallel_in), .value(value), .out_left(out_left), .out_right(out_right), .changed(changed)
    );

    always #5 clk = ~clk;

    int held = 0;
    int earlier;
    bit moved = 0;

    task automatic cycle(input bit next_rst, input logic [1:0] next_mode, input logic [2:0] bits,
                         input logic [7:0] load);
        rst = next_rst;
        mode = next_mode;
        {serial_left, serial_right, rotate} = bits;
        parallel_in = load;
        @(posedge clk);
        earlier = held;
        if (rst) held = 0;
        else if (mode == 1) held = (held * 2) % 256 + (rotate ? earlier / 128 : serial_right);
        else if (mode == 2) held = held / 2 + 128 * (rotate ? earlier % 2 : serial_left);
        else if (mode == 3) held = parallel_in;
        moved = !rst && held != earlier;
        @(negedge clk);
        `CHECK(0, value, held);
        `CHECK(1, out_left, (held >= 128));
        `CHECK(2, out_right, (held % 2));
        `CHECK(3, changed, moved);
        end_sample();
    endtask

    logic [31:0] draw;

    initial begin
        repeat (2) @(negedge clk);
        cycle(0, 3, 3'b000, 8'h96);
        for (int i = 0; i < 9; i = i + 1) cycle(0, 1, 3'b001, 0);
        for (int i = 0; i < 9; i = i + 1) cycle(0, 2, 3'b001, 0);
        for (int i = 0; i < 9; i = i + 1) cycle(0, 1, {1'b0, i[0], 1'b0}, 0);
        for (int i = 0; i < 9; i = i + 1) cycle(0, 2, {i[1], 2'b00}, 0);
        cycle(0, 0, 3'b111, 8'hff);
        cycle(1, 3, 3'b111, 8'hff);
        for (int i = 0; i < 300; i = i + 1) begin
            draw = random_word() >> 4;
            cycle((draw % 41) == 0, draw >> 8, draw >> 10, draw >> 14);
        end
        finish_test();
    end
endmodule
