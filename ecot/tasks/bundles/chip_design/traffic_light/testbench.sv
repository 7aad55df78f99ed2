`timescale 1ns/1ps

module testbench;
    `define INPUTS $sformatf("rst=%b tick=%b walk_request=%b", rst, tick, walk_request)
    `include "scoreboard.sv"

    logic       clk = 0;
    logic       rst = 1;
    logic       tick = 0;
    logic       walk_request = 0;
    wire  [1:0] main_light, side_light;
    wire        walk;

    traffic_light #(.GREEN(5), .YELLOW(2)) dut (
        .clk(clk), .rst(rst), .tick(tick), .walk_request(walk_request),
        .main_light(main_light), .side_light(side_light), .walk(walk)
    );

    always #5 clk = ~clk;

    // Ticks since the phase began, counted down.
    int phase = 0;
    int left = 5;
    bit pending = 0;

    task automatic model_edge();
        if (rst) begin
            phase = 0;
            left = 5;
            pending = 0;
        end else begin
            if (walk_request) pending = 1;
            if (tick) left = left - 1;
            if (left == 0) begin
                if (phase == 3) phase = pending ? 4 : 0;
                else phase = (phase + 1) % 5;
                if (phase == 4) pending = 0;
                left = (phase % 2) ? 2 : 5;
            end
        end
    endtask

    task automatic cycle(input bit next_rst, input bit next_tick, input bit next_request);
        rst = next_rst;
        tick = next_tick;
        walk_request = next_request;
        @(posedge clk);
        model_edge();
        @(negedge clk);
        `CHECK(0, main_light, (phase == 0 ? 2 : phase == 1 ? 1 : 0));
        `CHECK(1, side_light, (phase == 2 ? 2 : phase == 3 ? 1 : 0));
        `CHECK(2, walk, (phase == 4));
        end_sample();
    endtask

    logic [31:0] draw;

    initial begin
        repeat (2) @(negedge clk);
        for (int i = 0; i < 32; i = i + 1) cycle(0, 1, 0);
        for (int i = 0; i < 60; i = i + 1) cycle(0, 1, i == 3);
        for (int i = 0; i < 60; i = i + 1) cycle(0, i % 3 == 0, i == 1);
        for (int i = 0; i < 50; i = i + 1) cycle(0, 1, 1);
        cycle(1, 1, 1);
        for (int i = 0; i < 700; i = i + 1) begin
            draw = random_word();
            cycle(draw[7:0] == 0, draw[9:8] != 0, draw[14:10] == 0);
        end
        finish_test();
    end
endmodule
