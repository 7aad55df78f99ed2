`timescale 1ns/1ps

module testbench;
    `define INPUTS $sformatf("rst=%b button=%b", rst, button)
    `include "scoreboard.sv"

    logic clk = 0;
    logic rst = 1;
    logic button = 0;
    wire  clean, pressed, released, busy;

    debouncer #(.STABLE(5)) dut (
        .clk(clk), .rst(rst), .button(button),
        .clean(clean), .pressed(pressed), .released(released), .busy(busy)
    );

    always #5 clk = ~clk;

    bit [2:1] delayed = 0;
    bit       level = 0;
    bit       went_up = 0;
    bit       went_down = 0;
    int       held_for = 0;

    task automatic model_edge();
        went_up = 0;
        went_down = 0;
        if (rst) begin
            delayed = 0;
            level = 0;
            held_for = 0;
        end else begin
            held_for = (delayed[2] == level) ? 0 : held_for + 1;
            if (held_for == 5) begin
                level = delayed[2];
                went_up = level;
                went_down = !level;
                held_for = 0;
            end
            delayed = {delayed[1], button};
        end
    endtask

    task automatic cycle(input bit next_rst, input bit next_button);
        rst = next_rst;
        button = next_button;
        @(posedge clk);
        model_edge();
        @(negedge clk);
        `CHECK(0, clean, level);
        `CHECK(1, pressed, went_up);
        `CHECK(2, released, went_down);
        `CHECK(3, busy, (held_for != 0));
        end_sample();
    endtask

    logic [31:0] draw;

    initial begin
        repeat (2) @(negedge clk);
        for (int i = 0; i < 12; i = i + 1) cycle(0, 1);
        for (int i = 0; i < 12; i = i + 1) cycle(0, 0);
        for (int length = 1; length < 8; length = length + 1) begin
            for (int i = 0; i < length; i = i + 1) cycle(0, 1);
            for (int i = 0; i < 9; i = i + 1) cycle(0, 0);
        end
        for (int i = 0; i < 4; i = i + 1) cycle(0, 1);
        cycle(1, 1);
        for (int i = 0; i < 500; i = i + 1) begin
            draw = random_word();
            cycle(draw[7:0] == 0, draw[10:8] == 0 ? ~button : button);
        end
        finish_test();
    end
endmodule
