module hamming_codec (
    input  logic [3:0] data,
    input  logic [7:0] received,
    output logic [7:0] code,
    output logic [3:0] decoded,
    output logic [2:0] syndrome,
    output logic       single_error,
    output logic       double_error
);
    logic       check_1;
    logic       check_2;
    logic       check_4;
    logic [7:1] word;
    logic       parity_odd;
    logic [7:0] flip;
    logic [7:0] repaired;

    // Encoder.
    assign check_1 = data[0] ^ data[1] ^ data[3];
    assign check_2 = data[0] ^ data[2] ^ data[3];
    assign check_4 = data[1] ^ data[2] ^ data[3];
    assign word    = {data[3], data[2], data[1], check_4, data[0], check_2, check_1};
    assign code    = {word, ^word};

    // Decoder.
    assign syndrome[0] = received[1] ^ received[3] ^ received[5] ^ received[7];
    assign syndrome[1] = received[2] ^ received[3] ^ received[6] ^ received[7];
    assign syndrome[2] = received[4] ^ received[5] ^ received[6] ^ received[7];
    assign parity_odd  = ^received;

    always_comb begin
        flip         = 8'h00;
        single_error = 1'b0;
        double_error = 1'b0;
        if (parity_odd) begin
            single_error = 1'b1;
            flip         = 8'h01 << syndrome;
        end else if (syndrome != 3'd0) begin
            double_error = 1'b1;
            flip         = 8'h01 << syndrome;
        end
    end

    assign repaired = received ^ flip;
    assign decoded  = {repaired[7], repaired[6], repaired[5], repaired[3]};
endmodule
