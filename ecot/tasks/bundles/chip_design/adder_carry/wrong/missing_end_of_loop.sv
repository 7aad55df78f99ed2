module adder_carry #(
    parameter int WIDTH = 8
) (
    input  logic [WIDTH-1:0] a,
    input  logic [WIDTH-1:0] b,
    input  logic             carry_in,
    input  logic             subtract,
    output logic [WIDTH-1:0] sum,
    output logic             carry_out,
    output logic             overflow,
    output logic             propagate
);
    logic [WIDTH-1:0] operand;
    logic [WIDTH-1:0] half_sum;
    logic [WIDTH:0]   carry;

    assign operand  = subtract ? ~b : b;
    assign half_sum = a ^ operand;
    assign carry[0] = carry_in;

    genvar i;
    generate
        for (i = 0; i < WIDTH; i = i + 1) begin : stage
            assign sum[i]     = half_sum[i] ^ carry[i];
            assign carry[i+1] = (a[i] & operand[i]) | (half_sum[i] & carry[i]);
    endgenerate

    assign carry_out = carry[WIDTH];
    assign overflow  = carry[WIDTH] ^ carry[WIDTH-1];
    assign propagate = &half_sum;
endmodule
