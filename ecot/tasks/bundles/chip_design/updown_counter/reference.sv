module updown_counter #(
    parameter int WIDTH  = 6,
    parameter int MODULO = 40
) (
    input  logic             clk,
    input  logic             rst,
    input  logic             load,
    input  logic             enable,
    input  logic             up,
    input  logic [WIDTH-1:0] load_value,
    output logic [WIDTH-1:0] count,
    output logic             carry,
    output logic             borrow
);
    localparam logic [WIDTH-1:0] LAST = MODULO - 1;

    logic             at_last;
    logic             at_zero;
    logic [WIDTH-1:0] next_count;

    assign at_last = (count == LAST);
    assign at_zero = (count == 0);

    always_comb begin
        next_count = count;
        if (load) begin
            next_count = (load_value > LAST) ? LAST : load_value;
        end else if (enable) begin
            if (up) begin
                next_count = at_last ? '0 : count + 1'b1;
            end else begin
                next_count = at_zero ? LAST : count - 1'b1;
            end
        end
    end

    always_ff @(posedge clk) begin
        if (rst) count <= '0;
        else     count <= next_count;
    end

    assign carry  = enable && up && !load && at_last;
    assign borrow = enable && !up && !load && at_zero;
endmodule
