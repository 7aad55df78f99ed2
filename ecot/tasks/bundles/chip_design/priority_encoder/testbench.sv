`timescale 1ns/1ps

module testbench;
    `define INPUTS $sformatf("request=8'b%b mask=8'b%b enable=%b", request, mask, enable)
    `include "scoreboard.sv"

    logic [7:0] request, mask;
    logic       enable;
    wire  [2:0] index;
    wire  [7:0] one_hot;
    wire        valid, multiple;
    wire  [3:0] waiting;

    priority_encoder dut (
        .request(request), .mask(mask), .enable(enable),
        .index(index), .one_hot(one_hot), .valid(valid), .multiple(multiple), .waiting(waiting)
    );

    int highest, number;

    task automatic try(input logic [7:0] next_request, input logic [7:0] next_mask, input bit next_enable);
        request = next_request;
        mask = next_mask;
        enable = next_enable;
        #10;
        highest = -1;
        number = 0;
        for (int i = 0; i < 8; i = i + 1)
            if (enable && request[i] && !mask[i]) begin
                highest = i;
                number = number + 1;
            end
        `CHECK(0, index, (highest < 0 ? 0 : highest));
        `CHECK(1, one_hot, (highest < 0 ? 0 : 1 << highest));
        `CHECK(2, valid, (highest >= 0));
        `CHECK(3, multiple, (number > 1));
        `CHECK(4, waiting, (number == 0 ? 0 : number - 1));
        end_sample();
    endtask

    logic [31:0] draw;

    initial begin
        for (int i = 0; i < 256; i = i + 1) try(i, 8'h00, 1);
        try(8'hff, 8'h00, 0);
        try(8'hff, 8'hff, 1);
        for (int i = 0; i < 100; i = i + 1) begin
            draw = random_word();
            try(draw, draw >> 8, draw[18:16] != 0);
        end
        finish_test();
    end
endmodule
