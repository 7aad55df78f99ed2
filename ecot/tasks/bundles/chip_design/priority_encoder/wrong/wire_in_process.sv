module priority_encoder (
    input  logic [7:0] request,
    input  logic [7:0] mask,
    input  logic       enable,
    output wire  [2:0] index,
    output logic [7:0] one_hot,
    output logic       valid,
    output logic       multiple,
    output logic [3:0] waiting
);
    logic [7:0] active;
    logic [3:0] total;

    assign active = enable ? (request & ~mask) : 8'h00;
    assign valid  = |active;

    always_comb begin
        casez (active)
            8'b1???????: index = 3'd7;
            8'b01??????: index = 3'd6;
            8'b001?????: index = 3'd5;
            8'b0001????: index = 3'd4;
            8'b00001???: index = 3'd3;
            8'b000001??: index = 3'd2;
            8'b0000001?: index = 3'd1;
            default:     index = 3'd0;
        endcase
    end

    always_comb begin
        total = 4'd0;
        for (int i = 0; i < 8; i = i + 1) begin
            total = total + {3'b000, active[i]};
        end
    end

    assign one_hot  = valid ? (8'h01 << index) : 8'h00;
    assign waiting  = valid ? (total - 4'd1) : 4'd0;
    assign multiple = (waiting != 4'd0);
endmodule
