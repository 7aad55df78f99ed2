module sequence_detector (
    input  logic       clk,
    input  logic       rst_n,
    input  logic       valid,
    input  logic       bit_in,
    output logic       found,
    output logic [2:0] progress,
    output logic [3:0] total
);
    // Named after the longest prefix of 1011 that has been seen.
    localparam logic [2:0] NONE    = 3'd0;
    localparam logic [2:0] GOT_1   = 3'd1;
    localparam logic [2:0] GOT_10  = 3'd2;
    localparam logic [2:0] GOT_101 = 3'd3;
    localparam logic [2:0] MATCHED = 3'd4;

    logic [2:0] state;
    logic [2:0] next_state;
    logic       complete;

    always_comb begin
        case (state)
            NONE:    next_state = bit_in ? GOT_1 : NONE;
            GOT_1:   next_state = bit_in ? GOT_1 : GOT_10;
            GOT_10:  next_state = bit_in ? GOT_101 : NONE;
            GOT_101: next_state = bit_in ? MATCHED : GOT_10;
            MATCHED: next_state = bit_in ? GOT_1 : GOT_10;
            default: next_state = NONE;
        endcase
    end

    assign complete = valid && (state == GOT_101) && bit_in;

    always_ff @(posedge clk or negedge) begin
        if (!rst_n) begin
            state <= NONE;
            found <= 1'b0;
            total <= 4'd0;
        end else begin
            if (valid) state <= next_state;
            found <= complete;
            if (complete && total != 4'd15) total <= total + 4'd1;
        end
    end

    assign progress = state;
endmodule
