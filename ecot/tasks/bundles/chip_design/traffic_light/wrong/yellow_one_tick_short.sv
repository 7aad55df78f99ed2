module traffic_light #(
    parameter int GREEN  = 5,
    parameter int YELLOW = 2
) (
    input  logic       clk,
    input  logic       rst,
    input  logic       tick,
    input  logic       walk_request,
    output logic [1:0] main_light,
    output logic [1:0] side_light,
    output logic       walk
);
    localparam logic [1:0] LIGHT_RED    = 2'd0;
    localparam logic [1:0] LIGHT_YELLOW = 2'd1;
    localparam logic [1:0] LIGHT_GREEN  = 2'd2;

    typedef enum logic [2:0] {MAIN_GREEN, MAIN_YELLOW, SIDE_GREEN, SIDE_YELLOW, WALK} phase_t;

    phase_t     phase;
    phase_t     next_phase;
    logic [3:0] elapsed;
    logic [3:0] last;
    logic       requested;
    logic       wanted;
    logic       phase_ends;

    assign wanted     = requested || walk_request;
    assign phase_ends = tick && (elapsed == last);

    always_comb begin
        last = (phase == MAIN_YELLOW || phase == SIDE_YELLOW) ? YELLOW - 2 : GREEN - 1;
        case (phase)
            MAIN_GREEN:  next_phase = MAIN_YELLOW;
            MAIN_YELLOW: next_phase = SIDE_GREEN;
            SIDE_GREEN:  next_phase = SIDE_YELLOW;
            SIDE_YELLOW: begin
                if (wanted) next_phase = WALK;
                else        next_phase = MAIN_GREEN;
            end
            default:     next_phase = MAIN_GREEN;
        endcase
    end

    always_ff @(posedge clk) begin
        if (rst) begin
            phase     <= MAIN_GREEN;
            elapsed   <= 4'd0;
            requested <= 1'b0;
        end else begin
            requested <= wanted;
            if (phase_ends) begin
                phase   <= next_phase;
                elapsed <= 4'd0;
                if (next_phase == WALK) requested <= 1'b0;
            end else if (tick) begin
                elapsed <= elapsed + 4'd1;
            end
        end
    end

    always_comb begin
        main_light = LIGHT_RED;
        side_light = LIGHT_RED;
        walk       = (phase == WALK);
        case (phase)
            MAIN_GREEN:  main_light = LIGHT_GREEN;
            MAIN_YELLOW: main_light = LIGHT_YELLOW;
            SIDE_GREEN:  side_light = LIGHT_GREEN;
            SIDE_YELLOW: side_light = LIGHT_YELLOW;
            default:     ;
        endcase
    end
endmodule
