/* Calls the candidate on prepared inputs and writes what came of each call to standard output.

   Freestanding: no C library, so a candidate has nothing to call, and callgrind sees little beside the candidate.
   Expected values are not here; whoever reads the output compares. The number of instructions that this file itself
   executes depends on the sizes of the inputs alone, never on what the candidate computed.

   Input, file "tests": u64 nonce[2], tests, buffers, slot bytes of each buffer; then per test u64 integers[6],
   floats[4], and per buffer u64 argument, size, offset in the slot, content (padded to 8 bytes).
   Output: per test a Record and the buffers' content; at the end, or on a fault, a Record of another kind. */

typedef unsigned long u64;
typedef unsigned char u8;

enum { PAGE = 4096, MAX_BUFFERS = 6, CANARY = 128, STACK = 1 << 20, FLOATS = 4, INTEGERS = 6 };
enum { KIND_RESULT = 1, KIND_END = 2, KIND_FAULT = 3, KIND_DENIED = 4 };
enum { SYS_READ = 0, SYS_WRITE = 1, SYS_OPEN = 2, SYS_MMAP = 9, SYS_SIGACTION = 13, SYS_SIGRETURN = 15, SYS_EXIT = 60,
       SYS_SIGALTSTACK = 131, SYS_PRCTL = 157 };
enum { NOWHERE = 255, IN_STACK = 254, IN_CODE = 253 };

#define ARENA 0x100000000000UL
#define STACK_BASE 0x200000000000UL

typedef struct { u64 nonce[2], kind, test, integer, floating, abi, canaries; } Record;
typedef struct { u64 integers[INTEGERS], floats[FLOATS]; } Arguments;
typedef struct { u64 argument, size, offset; } Buffer;

static u64 nonce[2], current_test, num_buffers;
static u8 *slot_base[MAX_BUFFERS];
static u64 slot_bytes[MAX_BUFFERS];
static u8 signal_stack[16384] __attribute__((aligned(16)));
static u8 *out;
static u64 cycles;

/* What the trampoline reads and leaves; at fixed places, since after the call no register can be trusted. */
u64 ecot_arguments[INTEGERS + FLOATS], ecot_kept[6], ecot_result[2], ecot_seen[6], ecot_rsp, ecot_seen_rsp, ecot_flags;
u64 ecot_saved_rsp, ecot_stack_top;
unsigned ecot_environment[8], ecot_mxcsr;
extern void ecot_call(void);
extern void ecot_candidate(void);

static long syscall3(long number, u64 a, u64 b, u64 c) {
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
  return result;
}

static long syscall6(long number, u64 a, u64 b, u64 c, u64 d, u64 e, u64 f) {
  register u64 r10 __asm__("r10") = d, r8 __asm__("r8") = e, r9 __asm__("r9") = f;
  long result;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  return result;
}

static void leave(int code) {
  for (;;) syscall3(SYS_EXIT, code, 0, 0);
}

static void *map(u64 address, u64 size, int writable) {
  /* MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE: fixed, so that addresses cannot change an outcome. */
  long got = syscall6(SYS_MMAP, address, size, writable ? 3 : 0, 0x4032, (u64)-1, 0);
  if (got < 0) leave(101);
  return (void *)got;
}

static void copy(void *to, const void *from, u64 size) {
  u64 *t = to;
  const u64 *f = from;
  for (u64 i = 0; i < size / 8; i++) t[i] = f[i];
}

static void send(const void *data, u64 size) {
  const u8 *at = data;
  while (size) {
    long sent = syscall3(SYS_WRITE, 1, (u64)at, size);
    if (sent <= 0) leave(102);
    at += sent;
    size -= (u64)sent;
  }
}

static void send_end(u64 kind, u64 integer, u64 floating, u64 abi) {
  Record record = {{nonce[0], nonce[1]}, kind, current_test, integer, floating, abi, 0};
  send(&record, sizeof record);
}

/* Which buffer, or what else, a faulting address belongs to: guard pages stand on both sides of every slot. */
static u64 place_of(u64 address, u64 *distance) {
  for (u64 b = 0; b < num_buffers; b++) {
    u64 start = (u64)slot_base[b];
    if (address - (start - PAGE) < slot_bytes[b] + 2 * PAGE) {
      *distance = address - start;
      return b;
    }
  }
  *distance = 0;
  return address - (STACK_BASE - 64 * PAGE) < STACK + 64 * PAGE ? IN_STACK : NOWHERE;
}

static void on_signal(int number, const u8 *info, const u8 *context) {
  u64 address = *(const u64 *)(info + 16), distance;
  u64 rip = *(const u64 *)(context + 40 + 16 * 8), error = *(const u64 *)(context + 40 + 19 * 8);
  if (number == 31) {
    send_end(KIND_DENIED, *(const unsigned *)(info + 24), 0, 0);
    leave(0);
  }
  u64 place = place_of(address, &distance);
  if (number == 11 && rip == address) place = IN_CODE;
  send_end(KIND_FAULT, (u64)number, distance, place | (error >> 1 & 1) << 8);
  leave(0);
}

extern void ecot_no_return(void);
__asm__(".text\necot_no_return: ud2\n");

static void catch_signals(void) {
  struct { void *base; int flags; u64 size; } alternative = {signal_stack, 0, sizeof signal_stack};
  syscall3(SYS_SIGALTSTACK, (u64)&alternative, 0, 0);
  static const int numbers[] = {4, 5, 7, 8, 11, 31};
  for (int i = 0; i < 6; i++) {
    /* SA_SIGINFO | SA_RESTORER | SA_ONSTACK */
    struct { void *handler; u64 flags; void *restorer; u64 mask; } action = {on_signal, 0x0c000004, ecot_no_return, 0};
    syscall6(SYS_SIGACTION, (u64)numbers[i], (u64)&action, 0, 8, 0, 0);
  }
}

/* From here on the process may write and end, nothing else. */
static void close_system(void) {
  static const struct { unsigned short code; u8 yes, no; unsigned value; } filter[] = {
      {0x20, 0, 0, 4},                                /* load the architecture */
      {0x15, 0, 4, 0xc000003e},                       /* x86-64? */
      {0x20, 0, 0, 0},                                /* load the number */
      {0x15, 1, 0, SYS_WRITE}, {0x15, 0, 1, SYS_EXIT},
      {0x06, 0, 0, 0x7fff0000},                       /* allow */
      {0x06, 0, 0, 0x00030000},                       /* trap: SIGSYS */
  };
  struct { unsigned short length; const void *filter; } program = {7, filter};
  if (syscall6(SYS_PRCTL, 38, 1, 0, 0, 0, 0) || syscall6(SYS_PRCTL, 22, 2, (u64)&program, 0, 0, 0)) leave(103);
}

static u64 mix(u64 x) {
  x = (x ^ x >> 31) * 0x9e3779b97f4a7c15UL;
  return x ^ x >> 29;
}

static void fill_canary(u8 *from, const u8 *to, u64 seed) {
  for (; from < to; from++) *from = (u8)(seed + (u64)from * 31);
}

static u64 broken_canary(const u8 *from, const u8 *to, u64 seed) {
  u64 broken = 0;
  for (; from < to; from++) broken |= *from ^ (u8)(seed + (u64)from * 31);
  return broken;
}

static u64 check_abi(void) {
  u64 broken = 0;
  for (int i = 0; i < 6; i++) broken |= (u64)(ecot_seen[i] != ecot_kept[i]) << i;
  broken |= (u64)(ecot_seen_rsp != ecot_rsp) << 6;
  broken |= (u64)((ecot_flags >> 10 & 1) != 0) << 7;
  broken |= (u64)((ecot_mxcsr & 0xffc0) != 0x1f80) << 8;
  broken |= (u64)((ecot_environment[0] & 0xffff) != 0x37f) << 9;
  broken |= (u64)((ecot_environment[2] & 0xffff) != 0xffff) << 10;
  const u64 *frame = (const u64 *)ecot_stack_top;
  u64 wrong = 0;
  for (int i = 0; i < 16; i++) wrong |= frame[i] ^ mix(nonce[0] + (u64)i);
  return broken | (u64)(wrong != 0) << 11;
}

static void call_once(const Arguments *arguments) {
  copy(ecot_arguments, arguments, sizeof *arguments);
  for (int i = 0; i < 6; i++) ecot_kept[i] = mix(nonce[1] + current_test * 8 + (u64)i);
  u64 *frame = (u64 *)ecot_stack_top;
  for (int i = 0; i < 16; i++) frame[i] = mix(nonce[0] + (u64)i);
  ecot_call();
}

/* Run one test; gives the place of the next one's description. */
static const u8 *run_test(const u8 *at, int times) {
  Arguments arguments;
  Buffer buffers[MAX_BUFFERS];
  const u8 *content[MAX_BUFFERS];
  u8 *place[MAX_BUFFERS], *low[MAX_BUFFERS], *high[MAX_BUFFERS];
  copy(&arguments, at, sizeof arguments);
  at += sizeof arguments;
  for (u64 b = 0; b < num_buffers; b++) {
    copy(&buffers[b], at, sizeof(Buffer));
    content[b] = at + sizeof(Buffer);
    at = content[b] + ((buffers[b].size + 7) & ~7UL);
    place[b] = slot_base[b] + buffers[b].offset;
    u8 *end = slot_base[b] + slot_bytes[b];
    low[b] = buffers[b].offset > CANARY ? place[b] - CANARY : slot_base[b];
    high[b] = end - (place[b] + buffers[b].size) > CANARY ? place[b] + buffers[b].size + CANARY : end;
    arguments.integers[buffers[b].argument] = (u64)place[b];
  }
  for (int t = 0; t < times; t++) {
    for (u64 b = 0; b < num_buffers; b++) {
      fill_canary(low[b], place[b], nonce[0]);
      for (u64 i = 0; i < buffers[b].size; i++) place[b][i] = content[b][i];
      fill_canary(place[b] + buffers[b].size, high[b], nonce[0]);
    }
    u64 started = times > 1 ? __builtin_ia32_rdtsc() : 0;
    call_once(&arguments);
    if (times > 1) cycles += __builtin_ia32_rdtsc() - started;
  }
  Record *record = (Record *)out;
  *record = (Record){{nonce[0], nonce[1]}, KIND_RESULT, current_test, ecot_result[0], ecot_result[1], check_abi(), 0};
  u8 *to = out + sizeof(Record);
  for (u64 b = 0; b < num_buffers; b++) {
    u64 size = buffers[b].size;
    u64 broken = broken_canary(low[b], place[b], nonce[0]) != 0;
    broken |= (u64)(broken_canary(place[b] + size, high[b], nonce[0]) != 0) << 1;
    record->canaries |= broken << 2 * b;
    for (u64 i = 0; i < size; i++) to[i] = place[b][i];
    to += (size + 7) & ~7UL;
  }
  send(out, (u64)(to - out));
  return at;
}

__attribute__((used)) static void harness_main(long argc, char **argv) {
  int counted = argc > 1 && argv[1][0] == 'c', times = argc > 1 && argv[1][0] == 't' ? 64 : 1;
  u64 head[4], size = 0;
  long file = syscall3(SYS_OPEN, (u64)"tests", 0, 0);
  if (file < 0 || syscall3(SYS_READ, (u64)file, (u64)head, sizeof head) != sizeof head) leave(104);
  u64 total = head[3];
  nonce[0] = head[0];
  nonce[1] = head[1];
  u64 tests = head[2];
  u8 *input = map(ARENA, total, 1);
  while (size < total) {
    long got = syscall3(SYS_READ, (u64)file, (u64)(input + size), total - size);
    if (got <= 0) leave(105);
    size += (u64)got;
  }
  num_buffers = *(u64 *)input;
  const u8 *at = input + 8;
  u64 base = ARENA + 0x10000000000UL, longest = sizeof(Record);
  for (u64 b = 0; b < num_buffers; b++, at += 8, base += 0x10000000000UL) {
    slot_bytes[b] = *(u64 *)at;
    longest += slot_bytes[b];
    map(base, slot_bytes[b] + 2 * PAGE, 0);
    slot_base[b] = map(base + PAGE, slot_bytes[b], 1);
  }
  out = map(ARENA - 0x10000000000UL, longest, 1);
  map(STACK_BASE - 64 * PAGE, 64 * PAGE, 0);
  map(STACK_BASE, STACK, 1);
  ecot_stack_top = STACK_BASE + STACK - 4096;
  catch_signals();
  if (!counted) close_system();
  for (; current_test < tests; current_test++) at = run_test(at, times);
  send_end(KIND_END, cycles, 0, 0);
  leave(0);
}

__asm__(
    ".text\n.globl _start\n_start:\n  xor %ebp, %ebp\n  mov (%rsp), %rdi\n  lea 8(%rsp), %rsi\n  and $-16, %rsp\n"
    "  call harness_main\n  ud2\n"
    ".globl ecot_call\necot_call:\n"
    "  push %rbx\n  push %rbp\n  push %r12\n  push %r13\n  push %r14\n  push %r15\n"
    "  mov %rsp, ecot_saved_rsp(%rip)\n  mov ecot_stack_top(%rip), %rsp\n  mov %rsp, ecot_rsp(%rip)\n"
    "  mov ecot_kept(%rip), %rbx\n  mov ecot_kept+8(%rip), %rbp\n  mov ecot_kept+16(%rip), %r12\n"
    "  mov ecot_kept+24(%rip), %r13\n  mov ecot_kept+32(%rip), %r14\n  mov ecot_kept+40(%rip), %r15\n"
    "  movl $0x1f80, ecot_mxcsr(%rip)\n  ldmxcsr ecot_mxcsr(%rip)\n  fninit\n  cld\n"
    /* What the convention leaves undefined gets fixed junk, so that a candidate that reads it always fails alike. */
    "  vpcmpeqd %ymm0, %ymm0, %ymm0\n"
    "  vmovdqa %ymm0, %ymm4\n  vmovdqa %ymm0, %ymm5\n  vmovdqa %ymm0, %ymm6\n  vmovdqa %ymm0, %ymm7\n"
    "  vmovdqa %ymm0, %ymm8\n  vmovdqa %ymm0, %ymm9\n  vmovdqa %ymm0, %ymm10\n  vmovdqa %ymm0, %ymm11\n"
    "  vmovdqa %ymm0, %ymm12\n  vmovdqa %ymm0, %ymm13\n  vmovdqa %ymm0, %ymm14\n  vmovdqa %ymm0, %ymm15\n"
    "  vmovdqa %ymm0, %ymm1\n  vmovdqa %ymm0, %ymm2\n  vmovdqa %ymm0, %ymm3\n"
    "  vmovsd ecot_arguments+48(%rip), %xmm0\n  vmovsd ecot_arguments+56(%rip), %xmm1\n"
    "  vmovsd ecot_arguments+64(%rip), %xmm2\n  vmovsd ecot_arguments+72(%rip), %xmm3\n"
    "  vzeroupper\n"
    "  mov ecot_arguments(%rip), %rdi\n  mov ecot_arguments+8(%rip), %rsi\n  mov ecot_arguments+16(%rip), %rdx\n"
    "  mov ecot_arguments+24(%rip), %rcx\n  mov ecot_arguments+32(%rip), %r8\n  mov ecot_arguments+40(%rip), %r9\n"
    "  mov $-1, %rax\n  mov %rax, %r10\n  mov %rax, %r11\n"
    "  call ecot_candidate\n"
    "  mov %rsp, ecot_seen_rsp(%rip)\n  mov ecot_saved_rsp(%rip), %rsp\n"
    "  mov %rax, ecot_result(%rip)\n  vmovsd %xmm0, ecot_result+8(%rip)\n"
    "  mov %rbx, ecot_seen(%rip)\n  mov %rbp, ecot_seen+8(%rip)\n  mov %r12, ecot_seen+16(%rip)\n"
    "  mov %r13, ecot_seen+24(%rip)\n  mov %r14, ecot_seen+32(%rip)\n  mov %r15, ecot_seen+40(%rip)\n"
    "  pushfq\n  pop %rax\n  mov %rax, ecot_flags(%rip)\n  cld\n"
    "  stmxcsr ecot_mxcsr(%rip)\n  fnstenv ecot_environment(%rip)\n  fninit\n  vzeroupper\n"
    "  push $0x1f80\n  ldmxcsr (%rsp)\n  pop %rax\n"
    "  pop %r15\n  pop %r14\n  pop %r13\n  pop %r12\n  pop %rbp\n  pop %rbx\n  ret\n");
