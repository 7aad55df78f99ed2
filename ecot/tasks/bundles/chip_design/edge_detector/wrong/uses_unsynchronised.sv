module edge_detector (
    input  logic       clk,
    input  logic       rst_n,
    input  logic       signal_in,
    input  logic       clear_count,
    output logic       level,
    output logic       rising,
    output logic       falling,
    output logic [3:0] edge_count
);
    localparam logic [3:0] MAX_COUNT = 4'd15;

    logic meta;
    logic synced;
    logic previous;
    logic any_edge;

    always_ff @(posedge clk or negedge rst_n) begin
        if (!rst_n) begin
            meta     <= 1'b0;
            synced   <= 1'b0;
            previous <= 1'b0;
        end else begin
            meta     <= signal_in;
            synced   <= meta;
            previous <= synced;
        end
    end

    assign level    = synced;
    assign rising   = meta && !synced;
    assign falling  = !synced && previous;
    assign any_edge = rising || falling;

    always_ff @(posedge clk or negedge rst_n) begin
        if (!rst_n) begin
            edge_count <= 4'd0;
        end else if (clear_count) begin
            edge_count <= 4'd0;
        end else if (any_edge && edge_count != MAX_COUNT) begin
            edge_count <= edge_count + 4'd1;
        end
    end
endmodule
