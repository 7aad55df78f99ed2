// The bookkeeping of every testbench, included inside its module. The harness renames every identifier with a suffix
// that no candidate can know and fills in ECOT_SEED and ECOT_NONCE.
//
//   `INPUTS                      to be defined by the testbench: a string with the inputs of the present sample
//   `CHECK(slot, signal, want)   compare an output of the candidate with what it should be; `slot` numbers the output
//   end_sample()                 one sample is complete: all its outputs have been checked
//   random_word()                32 random bits; the same for the same task and code
//   finish_test()                print the verdict and end the simulation

// Written out in place: most checks succeed, and a call costs more than the comparison.
`define CHECK(slot, signal, want) \
    begin \
        if (slot_width[slot] == 0) begin \
            slot_width[slot] = $bits(signal); \
            slot_signal[slot] = `"signal`"; \
        end \
        if (signal !== (want)) note_failure(slot, want, signal, `INPUTS); \
    end

localparam int SLOTS = 16;

bit [31:0] random_state = ECOT_SEED;
int sample_count = 0;
int failed_samples = 0;
bit sample_failed = 0;

string slot_signal [0:SLOTS-1];
int slot_width [0:SLOTS-1];
int slot_failures [0:SLOTS-1];
longint slot_time [0:SLOTS-1];
logic [127:0] slot_want [0:SLOTS-1];
logic [127:0] slot_got [0:SLOTS-1];
string slot_inputs [0:SLOTS-1];

// xorshift32: the simulator's own generators share their state with the candidate.
function automatic bit [31:0] random_word();
    random_state = random_state ^ (random_state << 13);
    random_state = random_state ^ (random_state >> 17);
    random_state = random_state ^ (random_state << 5);
    random_word = random_state;
endfunction

task automatic note_failure(input int slot, input logic [127:0] want, input logic [127:0] got, input string inputs);
    if (slot_failures[slot] == 0) begin
        slot_time[slot] = $time;
        slot_want[slot] = want & ~({128{1'b1}} << slot_width[slot]);
        slot_got[slot] = got;
        slot_inputs[slot] = inputs;
    end
    slot_failures[slot] = slot_failures[slot] + 1;
    sample_failed = 1;
endtask

task automatic end_sample();
    sample_count = sample_count + 1;
    if (sample_failed) failed_samples = failed_samples + 1;
    sample_failed = 0;
endtask

task automatic finish_test();
    int slot;
    $display("");
    for (slot = 0; slot < SLOTS; slot = slot + 1)
        if (slot_width[slot] != 0)
            $display("ecot-verdict %s output %s %0d %0d %0d %h %h %s", ECOT_NONCE, slot_signal[slot], slot_width[slot],
                     slot_failures[slot], slot_time[slot], slot_want[slot], slot_got[slot], slot_inputs[slot]);
    $display("ecot-verdict %s total %0d %0d", ECOT_NONCE, sample_count, failed_samples);
    $finish;
endtask
