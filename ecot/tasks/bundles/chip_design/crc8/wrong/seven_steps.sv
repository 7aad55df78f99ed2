module crc8 #(
    parameter logic [7:0] POLY = 8'h07
) (
    input  logic       clk,
    input  logic       rst,
    input  logic       start,
    input  logic       valid,
    input  logic [7:0] data,
    output logic [7:0] crc,
    output logic [7:0] count,
    output logic       match
);
    logic [7:0] base_crc;
    logic [7:0] base_count;
    logic [7:0] folded;

    function automatic logic [7:0] fold(input logic [7:0] value);
        logic [7:0] work;
        work = value;
        for (int i = 0; i < 7; i = i + 1) begin
            if (work[7]) work = (work << 1) ^ POLY;
            else         work = work << 1;
        end
        fold = work;
    endfunction

    assign base_crc   = start ? 8'h00 : crc;
    assign base_count = start ? 8'h00 : count;
    assign folded     = fold(base_crc ^ data);

    always_ff @(posedge clk) begin
        if (rst) begin
            crc   <= 8'h00;
            count <= 8'h00;
        end else if (valid) begin
            crc   <= folded;
            count <= base_count + 8'd1;
        end else begin
            crc   <= base_crc;
            count <= base_count;
        end
    end

    assign match = (count != 8'h00) && (crc == 8'h00);
endmodule
