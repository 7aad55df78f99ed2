module uart_tx #(
    parameter int DIVIDE = 4
) (
    input  logic       clk,
    input  logic       rst,
    input  logic       send,
    input  logic       parity_enable,
    input  logic [7:0] data,
    output logic       tx,
    output logic       busy,
    output logic       done
);
    localparam int BITS = $clog2(DIVIDE) + 1;
    localparam logic [BITS-1:0] LAST_TICK = DIVIDE - 1;

    typedef enum logic [2:0] {IDLE, START, DATA, PARITY, STOP} state_t;

    state_t          state;
    logic [BITS-1:0] tick;
    logic [2:0]      bit_index;
    logic [7:0]      shift;
    logic            use_parity;
    logic            parity;
    logic            bit_over;

    assign bit_over = (tick == LAST_TICK);
    assign busy     = (state != IDLE);

    always_ff @(posedge clk) begin
        done <= 1'b0;
        if (rst) begin
            state <= IDLE;
            tick  <= '0;
        end else if (state == IDLE) begin
            tick <= '0;
            if (send) begin
                state      <= START;
                shift      <= data;
                parity     <= ^data;
                use_parity <= parity_enable;
                bit_index  <= 3'd0;
            end
        end else if (!bit_over) begin
            tick <= tick + 1'b1;
        end else begin
            tick <= '0;
            case (state)
                START: state <= DATA;
                DATA: begin
                    shift     <= shift >> 1;
                    bit_index <= bit_index + 3'd1;
                    if (bit_index == 3'd7) begin
                        if (parity_enable) state <= PARITY;
                        else            state <= STOP;
                    end
                end
                PARITY: state <= STOP;
                default: begin
                    state <= IDLE;
                    done  <= 1'b1;
                end
            endcase
        end
    end

    always_comb begin
        case (state)
            START:   tx = 1'b0;
            DATA:    tx = shift[0];
            PARITY:  tx = parity;
            default: tx = 1'b1;
        endcase
    end
endmodule
