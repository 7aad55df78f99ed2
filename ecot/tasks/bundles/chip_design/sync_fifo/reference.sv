module sync_fifo #(
    parameter int WIDTH = 8,
    parameter int DEPTH = 8
) (
    input  logic                   clk,
    input  logic                   rst,
    input  logic                   push,
    input  logic                   pop,
    input  logic [WIDTH-1:0]       data_in,
    output logic [WIDTH-1:0]       data_out,
    output logic                   full,
    output logic                   empty,
    output logic [$clog2(DEPTH):0] level
);
    localparam int ADDR = $clog2(DEPTH);

    logic [WIDTH-1:0] memory [0:DEPTH-1];
    logic [ADDR-1:0]  write_ptr;
    logic [ADDR-1:0]  read_ptr;
    logic             do_push;
    logic             do_pop;

    assign full    = (level == DEPTH);
    assign empty   = (level == 0);
    assign do_push = push && !full;
    assign do_pop  = pop && !empty;

    always_ff @(posedge clk) begin
        if (do_push) begin
            memory[write_ptr] <= data_in;
        end
    end

    always_ff @(posedge clk) begin
        if (rst) begin
            write_ptr <= '0;
            read_ptr  <= '0;
            level     <= '0;
        end else begin
            if (do_push) write_ptr <= write_ptr + 1'b1;
            if (do_pop)  read_ptr  <= read_ptr + 1'b1;
            case ({do_push, do_pop})
                2'b10:   level <= level + 1'b1;
                2'b01:   level <= level - 1'b1;
                default: level <= level;
            endcase
        end
    end

    assign data_out = empty ? '0 : memory[read_ptr];
endmodule
