module pwm #(
    parameter int WIDTH = 4
) (
    input  logic           clk,
    input  logic           rst,
    input  logic           enable,
    input  logic           invert,
    input  logic [WIDTH:0] duty,
    output logic           out,
    output logic           period_end,
    output logic [WIDTH:0] active_duty
);
    localparam logic [WIDTH:0]   FULL = 1 << WIDTH;
    localparam logic [WIDTH-1:0] LAST = {WIDTH{1'b1}};

    logic [WIDTH-1:0] counter;
    logic [WIDTH:0]   limited;
    logic             raw;
    logic             reload;

    assign limited    = (duty > FULL) ? FULL : duty;
    assign period_end = enable && (counter == LAST);
    assign reload     = period_end || !enable;

    always_ff @(posedge clk) begin
        if (rst) begin
            counter     <= '0;
            active_duty <= '0;
        end else begin
            if (enable) counter <= counter + 1'b1;
            else        counter <= '0;
            if (reload) active_duty <= limited;
        end
    end

    assign raw = enable && ({1'b0, counter} < active_duty);
    assign out = invert ? !raw : raw;
endmodule
