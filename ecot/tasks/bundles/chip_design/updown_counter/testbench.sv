`timescale 1ns/1ps

module testbench;
    `define INPUTS $sformatf("rst=%b load=%b enable=%b up=%b load_value=%0d", rst, load, enable, up, load_value)
    `include "scoreboard.sv"

    logic       clk = 0;
    logic       rst = 1;
    logic       load = 0;
    logic       enable = 0;
    logic       up = 0;
    logic [5:0] load_value = 0;
    wire  [5:0] count;
    wire        carry, borrow;

    updown_counter #(.WIDTH(6), .MODULO(40)) dut (
        .clk(clk), .rst(rst), .load(load), .enable(enable), .up(up), .load_value(load_value),
        .count(count), .carry(carry), .borrow(borrow)
    );

    always #5 clk = ~clk;

    int value = 0;

    task automatic cycle(input bit [4:0] controls, input logic [5:0] next_value);
        {rst, load, enable, up} = controls[3:0];
        load_value = next_value;
        #2;
        `CHECK(0, carry, (enable && up && !load && value == 39));
        `CHECK(1, borrow, (enable && !up && !load && value == 0));
        @(posedge clk);
        if (rst) value = 0;
        else if (load) value = (load_value < 40) ? load_value : 39;
        else if (enable) value = (value + (up ? 1 : 39)) % 40;
        @(negedge clk);
        `CHECK(2, count, value);
        end_sample();
    endtask

    logic [31:0] draw;

    initial begin
        repeat (2) @(negedge clk);
        for (int i = 0; i < 45; i = i + 1) cycle(5'b0011, 0);
        for (int i = 0; i < 50; i = i + 1) cycle(5'b0010, 0);
        cycle(5'b0111, 6'd63);
        cycle(5'b0111, 6'd40);
        cycle(5'b0011, 0);
        cycle(5'b0110, 6'd39);
        cycle(5'b0001, 0);
        cycle(5'b1111, 6'd12);
        for (int i = 0; i < 400; i = i + 1) begin
            draw = random_word() >> 4;
            cycle({(draw % 53) == 0, (draw[9:6] == 0), (draw[12:10] != 0), draw[13] ^ i[7]}, draw >> 14);
        end
        finish_test();
    end
endmodule
