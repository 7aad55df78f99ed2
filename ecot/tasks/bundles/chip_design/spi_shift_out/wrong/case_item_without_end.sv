module spi_shift_out #(
    parameter int HALF = 2
) (
    input  logic       clk,
    input  logic       rst,
    input  logic       start,
    input  logic       lsb_first,
    input  logic [7:0] data,
    output logic       cs_n,
    output logic       sclk,
    output logic       mosi,
    output logic       ready,
    output logic [3:0] bits_left
);
    localparam logic [3:0] LAST = HALF - 1;

    typedef enum logic [1:0] {IDLE, LOW, HIGH} state_t;

    state_t     state;
    logic [3:0] wait_count;
    logic [7:0] shift;
    logic       reversed;
    logic       phase_over;

    assign phase_over = (wait_count == LAST);

    always_ff @(posedge clk) begin
        if (rst) begin
            state      <= IDLE;
            wait_count <= 4'd0;
            bits_left  <= 4'd0;
        end else begin
            case (state)
                LOW: begin
                    wait_count <= phase_over ? 4'd0 : wait_count + 4'd1;
                    if (phase_over) state <= HIGH;
                HIGH: begin
                    wait_count <= phase_over ? 4'd0 : wait_count + 4'd1;
                    if (phase_over) begin
                        bits_left <= bits_left - 4'd1;
                        shift     <= reversed ? {1'b0, shift[7:1]} : {shift[6:0], 1'b0};
                        if (bits_left == 4'd1) state <= IDLE;
                        else                   state <= LOW;
                    end
                end
                default: begin
                    wait_count <= 4'd0;
                    if (start) begin
                        state     <= LOW;
                        shift     <= data;
                        reversed  <= lsb_first;
                        bits_left <= 4'd8;
                    end
                end
            endcase
        end
    end

    assign ready = (state == IDLE);
    assign cs_n  = ready;
    assign sclk  = (state == HIGH);
    assign mosi  = !ready && (reversed ? shift[0] : shift[7]);
endmodule
