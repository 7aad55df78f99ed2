module debouncer #(
    parameter int STABLE = 5
) (
    input  logic clk,
    input  logic rst,
    input  logic button,
    output logic clean,
    output logic pressed,
    output logic released,
    output logic busy
);
    localparam int BITS = $clog2(STABLE) + 1;
    localparam logic [BITS-1:0] LAST = STABLE - 1;

    logic            first;
    logic            second;
    logic [BITS-1:0] counter;
    logic            differs;
    logic            accept;

    assign differs = (second != clean);
    assign accept  = differs && (counter == LAST);

    always_ff @(posedge clk) begin
        if (rst) begin
            first  <= 1'b0;
            second <= 1'b0;
        end else begin
            first  <= button;
            second <= first;
        end
    end

    always_ff @(posedge clk) begin
        if (rst) begin
            counter  <= '0;
            clean    <= 1'b0;
            pressed  <= 1'b0;
            released <= 1'b0;
        end else begin
            pressed  <= accept && second;
            released <= accept && !second;
            if (accept) begin
                clean   <= second;
                counter <= '0;
            end else if (differs) begin
                counter <= counter + 1'b1;
            end
        end
    end

    assign busy = (counter != 0);
endmodule
