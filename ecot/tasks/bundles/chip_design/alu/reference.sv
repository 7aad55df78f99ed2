module alu #(
    parameter int WIDTH = 8
) (
    input  logic [WIDTH-1:0] a,
    input  logic [WIDTH-1:0] b,
    input  logic [2:0]       op,
    output logic [WIDTH-1:0] result,
    output logic             carry,
    output logic             zero,
    output logic             negative
);
    localparam logic [2:0] OP_ADD = 3'd0;
    localparam logic [2:0] OP_SUB = 3'd1;
    localparam logic [2:0] OP_AND = 3'd2;
    localparam logic [2:0] OP_OR  = 3'd3;
    localparam logic [2:0] OP_XOR = 3'd4;
    localparam logic [2:0] OP_SLT = 3'd5;
    localparam logic [2:0] OP_SHL = 3'd6;

    logic [WIDTH:0] sum;
    logic [WIDTH:0] difference;
    logic           less_signed;

    assign sum         = {1'b0, a} + {1'b0, b};
    assign difference  = {1'b0, a} - {1'b0, b};
    assign less_signed = $signed(a) < $signed(b);

    always_comb begin
        carry = 1'b0;
        case (op)
            OP_ADD:  {carry, result} = sum;
            OP_SUB:  {carry, result} = difference;
            OP_AND:  result = a & b;
            OP_OR:   result = a | b;
            OP_XOR:  result = a ^ b;
            OP_SLT:  result = {{(WIDTH - 1){1'b0}}, less_signed};
            OP_SHL:  {carry, result} = {a, 1'b0};
            default: {result, carry} = {1'b0, a};
        endcase
    end

    assign zero     = (result == '0);
    assign negative = result[WIDTH-1];
endmodule
