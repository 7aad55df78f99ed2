`timescale 1ns/1ps

module testbench;
    `define INPUTS $sformatf("rst=%b send=%b parity_enable=%b data=8'h%h", rst, send, parity_enable, data)
    `include "scoreboard.sv"

    localparam int PER_BIT = 4;

    logic       clk = 0;
    logic       rst = 1;
    logic       send = 0;
    logic       parity_enable = 0;
    logic [7:0] data = 0;
    wire        tx, busy, done;

    uart_tx #(.DIVIDE(PER_BIT)) dut (
        .clk(clk), .rst(rst), .send(send), .parity_enable(parity_enable), .data(data),
        .tx(tx), .busy(busy), .done(done)
    );

    always #5 clk = ~clk;

    // The whole frame as a vector, bit 0 first, and how many clock cycles of it are over.
    logic [10:0] frame = 11'h7ff;
    int          length = 0;
    int          elapsed = 0;
    bit          sending = 0;
    bit          just_done = 0;
    bit          odd_ones;

    task automatic model_edge();
        just_done = 0;
        if (rst) sending = 0;
        else if (sending) begin
            elapsed = elapsed + 1;
            if (elapsed == length * PER_BIT) begin
                sending = 0;
                just_done = 1;
            end
        end else if (send) begin
            odd_ones = 0;
            for (int i = 0; i < 8; i = i + 1) if (data[i]) odd_ones = !odd_ones;
            frame = parity_enable ? {1'b1, odd_ones, data, 1'b0} : {2'b11, data, 1'b0};
            length = parity_enable ? 11 : 10;
            elapsed = 0;
            sending = 1;
        end
    endtask

    task automatic cycle(input bit next_rst, input bit next_send, input bit next_parity, input logic [7:0] next_data);
        rst = next_rst;
        send = next_send;
        parity_enable = next_parity;
        data = next_data;
        @(posedge clk);
        model_edge();
        @(negedge clk);
        `CHECK(0, tx, (sending ? frame[elapsed / PER_BIT] : 1'b1));
        `CHECK(1, busy, sending);
        `CHECK(2, done, just_done);
        end_sample();
    endtask

    logic [31:0] draw;

    initial begin
        repeat (2) @(negedge clk);
        for (int i = 0; i < 3; i = i + 1) cycle(0, 0, 1, 8'h00);
        cycle(0, 1, 0, 8'ha3);
        for (int i = 0; i < 45; i = i + 1) cycle(0, 0, 1, 8'hff);
        cycle(0, 1, 1, 8'h8f);
        for (int i = 0; i < 48; i = i + 1) cycle(0, 0, 0, 8'h00);
        cycle(0, 1, 1, 8'h5a);
        for (int i = 0; i < 17; i = i + 1) cycle(0, 1, 0, 8'h00);
        cycle(1, 1, 0, 8'h00);
        for (int i = 0; i < 1000; i = i + 1) begin
            draw = random_word();
            cycle(draw[8:0] == 0, draw[10:9] != 0, draw[11], draw >> 16);
        end
        finish_test();
    end
endmodule
