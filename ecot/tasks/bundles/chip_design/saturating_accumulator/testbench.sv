`timescale 1ns/1ps

module testbench;
    `define INPUTS $sformatf("rst=%b clear=%b valid=%b subtract=%b sample=%0d", rst, clear, valid, subtract, step)
    `include "scoreboard.sv"

    logic        clk = 0;
    logic        rst = 1;
    logic        clear = 0;
    logic        valid = 0;
    logic        subtract = 0;
    logic [7:0]  sample = 0;
    wire  [11:0] total;
    wire         saturated, at_max, at_min;

    saturating_accumulator #(.IN_WIDTH(8), .ACC_WIDTH(12)) dut (
        .clk(clk), .rst(rst), .clear(clear), .valid(valid), .subtract(subtract), .sample(sample),
        .total(total), .saturated(saturated), .at_max(at_max), .at_min(at_min)
    );

    always #5 clk = ~clk;

    int sum = 0;
    int step;
    bit limited = 0;

    task automatic cycle(input bit [3:0] controls, input logic [7:0] next_sample);
        {rst, clear, valid, subtract} = controls;
        sample = next_sample;
        step = (sample < 128) ? sample : sample - 256;
        @(posedge clk);
        if (rst || clear) begin
            sum = 0;
            limited = 0;
        end else if (valid) begin
            sum = subtract ? sum - step : sum + step;
            if (sum > 2047) begin
                sum = 2047;
                limited = 1;
            end
            if (sum < -2048) begin
                sum = -2048;
                limited = 1;
            end
        end
        @(negedge clk);
        `CHECK(0, total, (sum & 4095));
        `CHECK(1, saturated, limited);
        `CHECK(2, at_max, (sum == 2047));
        `CHECK(3, at_min, (sum == -2048));
        end_sample();
    endtask

    logic [31:0] draw;

    initial begin
        repeat (2) @(negedge clk);
        for (int i = 0; i < 16; i = i + 1) cycle(4'b0010, 8'd127);
        cycle(4'b0010, 8'd15);
        cycle(4'b0010, 8'd1);
        cycle(4'b0011, 8'd1);
        cycle(4'b0100, 8'd1);
        for (int i = 0; i < 16; i = i + 1) cycle(4'b0010, 8'h80);
        cycle(4'b0010, 8'hff);
        cycle(4'b0011, 8'h80);
        cycle(4'b0111, 8'h80);
        for (int i = 0; i < 18; i = i + 1) cycle(4'b0011, 8'h80);
        cycle(4'b1010, 8'h7f);
        for (int i = 0; i < 500; i = i + 1) begin
            draw = random_word();
            // Long runs of one sign, so that both limits are met.
            cycle({draw[7:0] == 0, draw[14:8] == 0, draw[17:15] != 0, draw[18]},
                  {i[5] ^ draw[18] ^ (draw[21:19] == 0), draw[28:22]});
        end
        finish_test();
    end
endmodule
