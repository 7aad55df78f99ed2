// Reads plan.bin (see cuda_plan.py), runs every case twice, writes outputs.raw; a fault goes to fault.txt.
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>
#include <vector>

namespace ecot {

struct dim {
    unsigned x = 1, y = 1, z = 1;
};
struct Place {
    dim thread, block, block_size, grid_size;
};
using Kernel = void (*)(void **arguments);

// Laid out by the compiler.
struct SourceLocation {
    const char *file;
    uint32_t line, column;
};
struct TypeDescriptor {
    uint16_t kind, info;
    char name[1];
};
struct OutOfBoundsData {
    SourceLocation location;
    const TypeDescriptor *array_type, *index_type;
};

}  // namespace ecot

// Defined beside the candidate.
extern const ecot::Kernel ecot_kernels[];
extern "C" {
extern char __start_ecot_shared[] __attribute__((weak));
extern char __stop_ecot_shared[] __attribute__((weak));
}

namespace ecot {
namespace {

constexpr size_t kPage = 4096, kGuard = 16 << 20, kStack = 64 << 10;

struct Buffer {
    std::string name;
    bool output = false;
    size_t size = 0;
    char *data = nullptr, *mapping = nullptr;
    size_t mapped = 0;
};

enum class State { ready, at_block_barrier, at_warp_barrier, ended };

struct Thread {
    ucontext_t context;
    Place place;
    State state;
    unsigned mask;
    int line;
};

std::vector<Buffer> buffers;
std::vector<Thread> threads;
Buffer shared_memory;
std::vector<uint64_t> slots;
ucontext_t scheduler;
Thread *current = nullptr;
char *stacks = nullptr;
size_t num_stacks = 0;
Kernel running_kernel;
void **running_arguments;
long accumulated = 0;

[[noreturn]] void fail(const char *kind, const std::string &text) {
    FILE *file = std::fopen("fault.txt", "w");
    std::fprintf(file, "%s\n%s\n", kind, text.c_str());
    std::fclose(file);
    _exit(3);
}

std::string where() {
    if (!current) return "outside of every kernel";
    char text[160];
    const Place &p = current->place;
    std::snprintf(text, sizeof text, "by thread (%u, %u, %u) of block (%u, %u, %u)", p.thread.x, p.thread.y, p.thread.z,
                  p.block.x, p.block.y, p.block.z);
    return text;
}

void on_fault(int number, siginfo_t *info, void *raw) {
    if (number == SIGFPE) fail("exception", "integer division by zero " + where());
    if (number == SIGABRT) fail("assertion", "assertion failed " + where());
    if (number != SIGSEGV && number != SIGBUS) fail("exception", "trap " + where());
    auto address = reinterpret_cast<uintptr_t>(info->si_addr);
    bool store = static_cast<ucontext_t *>(raw)->uc_mcontext.gregs[REG_ERR] & 2;
    std::string verb = store ? "store" : "load";
    auto stack = reinterpret_cast<uintptr_t>(stacks);
    if (stacks && address >= stack && address < stack + num_stacks * (kStack + kPage))
        fail("stack", "stack overflow " + where());
    std::vector<Buffer> all = buffers;
    all.push_back(shared_memory);
    for (const Buffer &buffer : all) {
        auto start = reinterpret_cast<uintptr_t>(buffer.data);
        auto low = reinterpret_cast<uintptr_t>(buffer.mapping);
        if (address < low || address >= low + buffer.mapped) continue;
        if (address >= start && address < start + buffer.size && store && !buffer.output)
            fail("input_changed", "store to the input '" + buffer.name + "' " + where());
        fail("out_of_bounds", verb + " out of bounds: byte offset " + std::to_string(long(address - start)) +
                                  " of the " + std::to_string(buffer.size) + "-byte array '" + buffer.name + "', " +
                                  where());
    }
    fail("out_of_bounds", verb + " out of bounds: far from every array, " + where());
}

void install_handlers() {
    static char alternative[64 << 10];
    stack_t stack{};
    stack.ss_sp = alternative;
    stack.ss_size = sizeof alternative;
    sigaltstack(&stack, nullptr);
    struct sigaction action {};
    action.sa_sigaction = on_fault;
    action.sa_flags = SA_SIGINFO | SA_ONSTACK;
    for (int number : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT}) sigaction(number, &action, nullptr);
}

void map_buffer(Buffer &buffer, const char *content, bool at_end) {
    size_t pages = (buffer.size + kPage - 1) / kPage * kPage + (buffer.size == 0 ? kPage : 0);
    buffer.mapped = pages + 2 * kGuard;
    void *found = mmap(nullptr, buffer.mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (found == MAP_FAILED) fail("harness", "no address space");
    buffer.mapping = static_cast<char *>(found);
    char *middle = buffer.mapping + kGuard;
    if (buffer.size == 0) {
        buffer.data = middle;
        return;
    }
    mprotect(middle, pages, PROT_READ | PROT_WRITE);
    // What lies beside the array in its first or last page reads as NaN.
    std::memset(middle, 0xff, pages);
    buffer.data = at_end ? middle + pages - buffer.size : middle;
    std::memcpy(buffer.data, content, buffer.size);
    if (!buffer.output) mprotect(middle, pages, PROT_READ);
}

void check_margins(const Buffer &buffer) {
    if (!buffer.output || buffer.size == 0) return;
    const char *start = buffer.mapping + kGuard, *end = buffer.mapping + buffer.mapped - kGuard;
    for (const char *p = start; p < end; ++p) {
        if (p == buffer.data) p += buffer.size;
        if (p < end && *p != char(0xff))
            fail("out_of_bounds", "store out of bounds: byte offset " + std::to_string(long(p - buffer.data)) +
                                      " of the " + std::to_string(buffer.size) + "-byte array '" + buffer.name + "'");
    }
}

void enter_thread() {
    running_kernel(running_arguments);
    current->state = State::ended;
    setcontext(&scheduler);
}

void wait_here(State state, unsigned mask, int line) {
    current->state = state;
    current->mask = mask;
    current->line = line;
    swapcontext(&current->context, &scheduler);
}

bool release_block() {
    int line = 0, waiting = 0;
    for (const Thread &thread : threads) {
        if (thread.state == State::ended) continue;
        if (thread.state != State::at_block_barrier) return false;
        if (waiting && thread.line != line)
            fail("exception", "threads of one block wait at different __syncthreads(): lines " + std::to_string(line) +
                                  " and " + std::to_string(thread.line));
        line = thread.line;
        ++waiting;
    }
    for (Thread &thread : threads)
        if (thread.state == State::at_block_barrier) thread.state = State::ready;
    return waiting > 0;
}

bool release_warps() {
    bool released = false;
    for (size_t first = 0; first < threads.size(); first += 32) {
        size_t last = first + 32 < threads.size() ? first + 32 : threads.size();
        for (size_t i = first; i < last; ++i) {
            if (threads[i].state != State::at_warp_barrier) continue;
            bool complete = true;
            for (size_t j = first; j < last; ++j)
                if (threads[i].mask >> (j - first) & 1)
                    complete &= threads[j].state == State::ended ||
                                (threads[j].state == State::at_warp_barrier && threads[j].mask == threads[i].mask);
            if (!complete) continue;
            unsigned mask = threads[i].mask;
            for (size_t j = first; j < last; ++j)
                if (threads[j].state == State::at_warp_barrier && threads[j].mask == mask)
                    threads[j].state = State::ready;
            released = true;
        }
    }
    return released;
}

void run_block(const Place &shape, bool descending) {
    size_t count = size_t(shape.block_size.x) * shape.block_size.y * shape.block_size.z;
    threads.resize(count);
    slots.assign(count + 32, ~uint64_t(0));
    if (__start_ecot_shared) std::memset(__start_ecot_shared, 0xff, size_t(__stop_ecot_shared - __start_ecot_shared));
    std::memset(shared_memory.data, 0xff, shared_memory.size);
    for (size_t i = 0; i < count; ++i) {
        Thread &thread = threads[i];
        thread.place = shape;
        thread.place.thread = {unsigned(i % shape.block_size.x), unsigned(i / shape.block_size.x % shape.block_size.y),
                               unsigned(i / shape.block_size.x / shape.block_size.y)};
        thread.state = State::ready;
        getcontext(&thread.context);
        thread.context.uc_stack.ss_sp = stacks + i * (kStack + kPage) + kPage;
        thread.context.uc_stack.ss_size = kStack;
        thread.context.uc_link = &scheduler;
        makecontext(&thread.context, enter_thread, 0);
    }
    for (;;) {
        for (size_t i = 0; i < count; ++i) {
            Thread &thread = threads[descending ? count - 1 - i : i];
            if (thread.state != State::ready) continue;
            current = &thread;
            swapcontext(&scheduler, &thread.context);
            current = nullptr;
        }
        if (release_warps() || release_block()) continue;
        for (const Thread &thread : threads)
            if (thread.state != State::ended)
                fail("exception", "deadlock: some threads wait for others that wait elsewhere, at line " +
                                      std::to_string(thread.line));
        return;
    }
}

void reserve_stacks(size_t count) {
    if (count <= num_stacks) return;
    size_t each = kStack + kPage;
    void *found = mmap(nullptr, count * each, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (found == MAP_FAILED) fail("harness", "no room for stacks");
    stacks = static_cast<char *>(found);
    num_stacks = count;
    for (size_t i = 0; i < count; ++i) mprotect(stacks + i * each + kPage, kStack, PROT_READ | PROT_WRITE);
}

template <class T> T take(const char *&cursor) {
    T value;
    std::memcpy(&value, cursor, sizeof value);
    cursor += sizeof value;
    return value;
}

void launch(const char *&cursor, bool descending, std::vector<void *> &arguments) {
    auto kernel = take<uint32_t>(cursor);
    Place shape;
    for (dim *size : {&shape.grid_size, &shape.block_size})
        for (unsigned *part : {&size->x, &size->y, &size->z}) *part = take<uint32_t>(cursor);
    if (shared_memory.mapping) munmap(shared_memory.mapping, shared_memory.mapped);
    shared_memory = {"dynamic shared memory", true, take<uint32_t>(cursor)};
    map_buffer(shared_memory, std::string(shared_memory.size, char(0xff)).data(), true);
    std::vector<void *> chosen(take<uint32_t>(cursor));
    for (void *&argument : chosen) argument = arguments[take<uint32_t>(cursor)];
    reserve_stacks(size_t(shape.block_size.x) * shape.block_size.y * shape.block_size.z);
    running_kernel = ecot_kernels[kernel];
    running_arguments = chosen.data();
    size_t blocks = size_t(shape.grid_size.x) * shape.grid_size.y * shape.grid_size.z;
    for (size_t i = 0; i < blocks; ++i) {
        size_t index = descending ? blocks - 1 - i : i;
        shape.block = {unsigned(index % shape.grid_size.x), unsigned(index / shape.grid_size.x % shape.grid_size.y),
                       unsigned(index / shape.grid_size.x / shape.grid_size.y)};
        run_block(shape, descending);
    }
}

// One case in one order of threads; returns where the next case begins.
const char *run_case(const char *cursor, bool second, FILE *outputs) {
    uint32_t count = take<uint32_t>(cursor);
    buffers.clear();
    buffers.reserve(count);
    std::vector<uint64_t> scalars(count);
    std::vector<void *> arguments(count), pointers(count);
    for (uint32_t i = 0; i < count; ++i) {
        auto kind = take<uint32_t>(cursor);
        auto name_size = take<uint32_t>(cursor);
        std::string name(cursor, name_size);
        cursor += name_size;
        auto size = take<uint64_t>(cursor);
        if (kind == 2) {
            std::memcpy(&scalars[i], cursor, size);
            arguments[i] = &scalars[i];
        } else {
            buffers.push_back({name, kind == 1, size});
            map_buffer(buffers.back(), cursor, !second);
            pointers[i] = buffers.back().data;
            arguments[i] = &pointers[i];
        }
        cursor += size;
    }
    auto launches = take<uint32_t>(cursor);
    for (uint32_t i = 0; i < launches; ++i) launch(cursor, second, arguments);
    for (Buffer &buffer : buffers) {
        check_margins(buffer);
        if (buffer.output) std::fwrite(buffer.data, 1, buffer.size, outputs);
        munmap(buffer.mapping, buffer.mapped);
    }
    return cursor;
}

}  // namespace

Place &here() { return current->place; }
void *dynamic_shared() { return shared_memory.data; }
void block_barrier(int line) { wait_here(State::at_block_barrier, 0, line); }
void warp_barrier(unsigned mask, int line) { wait_here(State::at_warp_barrier, mask, line); }
int lane_id() { return int((current - threads.data()) % 32); }
uint64_t *lane_slots() { return slots.data() + (current - threads.data()) / 32 * 32; }
bool lane_alive(int lane) {
    size_t index = size_t((current - threads.data()) / 32 * 32 + lane);
    return index < threads.size() && threads[index].state != State::ended;
}
void trap() { fail("exception", "trap " + where()); }
int block_sum(int value, int line) {
    accumulated = 0;
    block_barrier(line);
    accumulated += value;
    block_barrier(line);
    int result = int(accumulated);
    block_barrier(line);
    return result;
}

}  // namespace ecot

// What `-fsanitize=bounds-strict` calls; the array's name is not known to it, its type is.
extern "C" void __ubsan_handle_out_of_bounds_abort(ecot::OutOfBoundsData *data, uintptr_t index) {
    ecot::fail("out_of_bounds", "candidate.cu:" + std::to_string(data->location.line) + ": index " +
                                    std::to_string(int(index)) + " out of bounds for type " + data->array_type->name +
                                    ", " + ecot::where());
}

int main() {
    ecot::install_handlers();
    FILE *file = std::fopen("plan.bin", "rb");
    std::fseek(file, 0, SEEK_END);
    std::vector<char> plan(size_t(std::ftell(file)));
    std::rewind(file);
    if (std::fread(plan.data(), 1, plan.size(), file) != plan.size()) return 4;
    std::fclose(file);
    FILE *outputs = std::fopen("outputs.raw", "wb");
    const char *cursor = plan.data();
    auto cases = ecot::take<uint32_t>(cursor);
    for (uint32_t i = 0; i < cases; ++i) {
        ecot::run_case(cursor, false, outputs);
        cursor = ecot::run_case(cursor, true, outputs);
        FILE *progress = std::fopen("progress.txt", "w");
        std::fprintf(progress, "%u\n", i + 1);
        std::fclose(progress);
    }
    std::fclose(outputs);
    _exit(0);
}
