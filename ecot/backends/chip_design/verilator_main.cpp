// The program around a design that Verilator translated. Beside the usual loop it says what ends a simulation:
// the runtime's own words go to standard output, where a candidate writes too, so they are replaced.
//
// Above it stand the generated sources and `#define ECOT_SEED`, from which every uninitialised variable and `$random`
// get their values: a design that reads what it never wrote sees noise, the same at every run.

#include <cstdio>
#include <cstdlib>

static const int FATAL_TASK = 3;     // `$fatal`
static const int RUNTIME_ERROR = 4;  // the runtime gave up; standard error says why

static void end_with(int code) {
    std::fflush(stdout);
    std::fflush(stderr);
    std::_Exit(code);
}

void vl_finish(const char*, int, const char*) { Verilated::threadContextp()->gotFinish(true); }

// `$stop` and `$error` of a candidate were replaced before.
void vl_stop(const char*, int, const char*) { end_with(FATAL_TASK); }

void vl_fatal(const char*, int, const char*, const char* message) {
    std::fprintf(stderr, "runtime: %s\n", message);
    end_with(RUNTIME_ERROR);
}

int main() {
    VerilatedContext context;
    context.randReset(2);
    context.randSeed(ECOT_SEED);
    Vbench bench{&context};
    while (!context.gotFinish()) {
        bench.eval();
        if (!bench.eventsPending()) break;
        context.time(bench.nextTimeSlot());
    }
    bench.final();
    end_with(0);
}
