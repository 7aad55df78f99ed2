module shift_register #(
    parameter int WIDTH = 8
) (
    input  logic             clk,
    input  logic             rst,
    input  logic [1:0]       mode,
    input  logic             serial_left,
    input  logic             serial_right,
    input  logic             rotate,
    input  logic [WIDTH-1:0] parallel_in,
    output logic [WIDTH-1:0] value,
    output logic             out_left,
    output logic             out_right,
    output logic             changed
);
    localparam logic [1:0] HOLD  = 2'd0;
    localparam logic [1:0] LEFT  = 2'd1;
    localparam logic [1:0] RIGHT = 2'd2;

    logic             enter_low;
    logic             enter_high;
    logic [WIDTH-1:0] next_value;

    assign enter_low  = rotate ? out_left : serial_right;
    assign enter_high = rotate ? out_right : serial_left;

    always_comb begin
        case (mode)
            HOLD:    next_value = value;
            LEFT:    next_value = {value[WIDTH-2:0], enter_low};
            RIGHT:   next_value = {enter_high, value[WIDTH-1:1]};
            default: next_value = parallel_in;
        endcase
    end

    always_ff @(posedge clk) begin
        if (rst) begin
            value   <= '0;
            changed <= 1'b0;
        end else begin
            value   <= next_value;
            changed <= (next_value != $past(next_value));
        end
    end

    assign out_left  = value[WIDTH-1];
    assign out_right = value[0];
endmodule
