module popcount #(
    parameter int WIDTH = 12
) (
    input  logic [WIDTH-1:0] value,
    output logic [3:0]       ones,
    output logic             parity,
    output logic             majority,
    output logic             balanced,
    output logic [3:0]       longest_run,
    output logic [3:0]       lowest
);
    logic [3:0] run;
    logic [4:0] twice;

    always_comb begin
        ones        = 4'd0;
        run         = 4'd0;
        longest_run = 4'd0;
        for (int i = 0; i < WIDTH; i = i + 1) begin
            if (value[i]) begin
                ones = ones + 4'd1;
                run  = run + 4'd1;
            end else begin
                run  = 4'd0;
            end
            if (run > longest_run) longest_run = run;
        end
    end

    always_comb begin
        lowest = WIDTH;
        for (int i = WIDTH - 1; i >= 0; i = i - 1) begin
            if (value[i] && lowest == WIDTH) lowest = i;
        end
    end

    assign twice    = {ones, 1'b0};
    assign parity   = ones[0];
    assign majority = (twice > WIDTH);
    assign balanced = (twice == WIDTH);
endmodule
