/* Start-up, fault reports and the reporting of a test bench. A task's bench.c includes this and defines bench_run().
 *
 * Everything is static: a candidate can call none of it by name. The device holds the stimuli's seed and the nonce of
 * this run, but no expected value: what is reported is compared on the host with what the reference reports.
 */
#include "stm32f4.h"

#pragma GCC diagnostic ignored "-Woverride-init"

static void bench_run(void);

#define PARAMETERS ((const volatile uint32_t *)0x080E0000UL) /* seed[4], nonce[2], deadline in us: laid there per run */
#define FENCE_BYTES 16U
#define ARENA_BYTES 12288U
#define MAX_BUFFERS 32U

static uint32_t bench_state[4];
static uint32_t bench_cases;
static uint8_t bench_arena[ARENA_BYTES] __attribute__((aligned(8)));
static uint32_t bench_arena_used;
static struct {
    uint8_t *start;
    uint32_t size, key;
    const char *name;
} bench_buffers[MAX_BUFFERS];
static uint32_t bench_num_buffers;

/* ---- the link to the host: lines on USART1 that start with a byte 2 and the nonce ---- */

/* The candidate's stack is measured with the frames of the bench that call it, which inlining would make larger. */
#define NOT_IN_THE_CALLER __attribute__((noinline))

/* The emulators take a byte at once. The status register, which tells so, is not asked: QEMU wakes its input side on
 * every reading, which was half of the cost of a run. */
static void put_char(char c) { USART1->DR = (uint8_t)c; }

static void put_text(const char *text)
{
    while (*text)
        put_char(*text++);
}

static void put_hex(uint32_t value, int digits)
{
    while (digits-- > 0)
        put_char("0123456789abcdef"[(value >> (4 * digits)) & 15U]);
}

NOT_IN_THE_CALLER static void put_decimal(uint32_t value)
{
    char digits[10];
    int count = 0;
    do {
        digits[count++] = (char)('0' + value % 10U);
        value /= 10U;
    } while (value);
    while (count--)
        put_char(digits[count]);
}

NOT_IN_THE_CALLER static void line_start(char kind, const char *name)
{
    put_char(2);
    put_hex(PARAMETERS[4], 8);
    put_char(kind);
    put_text(name);
}

static void line_end(void) { put_char('\n'); }

static void report_unsigned(char kind, const char *name, uint32_t value)
{
    line_start(kind, name);
    put_char(' ');
    put_decimal(value);
    line_end();
}

static void report_signed(char kind, const char *name, int32_t value)
{
    line_start(kind, name);
    put_char(' ');
    if (value < 0)
        put_char('-');
    put_decimal(value < 0 ? 0U - (uint32_t)value : (uint32_t)value);
    line_end();
}

static void report_hex(char kind, const char *name, uint32_t value)
{
    line_start(kind, name);
    put_text(" 0x");
    put_hex(value, 8);
    line_end();
}

static void report_bytes(char kind, const char *name, const void *data, uint32_t count)
{
    const volatile uint8_t *bytes = data;
    line_start(kind, name);
    put_text(" [");
    for (uint32_t i = 0; i < count; i++)
        put_hex(bytes[i], 2);
    put_char(']');
    line_end();
}

/* Inputs are told with a mismatch and must be those that the reference saw; outputs are compared. */
#define in_u(name, value) report_unsigned('i', name, (uint32_t)(value))
#define in_i(name, value) report_signed('i', name, (int32_t)(value))
#define in_x(name, value) report_hex('i', name, (uint32_t)(value))
#define in_bytes(name, data, count) report_bytes('i', name, data, count)
#define out_u(name, value) report_unsigned('o', name, (uint32_t)(value))
#define out_i(name, value) report_signed('o', name, (int32_t)(value))
#define out_x(name, value) report_hex('o', name, (uint32_t)(value))
#define out_bytes(name, data, count) report_bytes('o', name, data, count)

__attribute__((unused)) static void (*const bench_keep[])(void) = {
    (void (*)(void))report_unsigned, (void (*)(void))report_signed,
    (void (*)(void))report_hex, (void (*)(void))report_bytes};

/* ---- stimuli ---- */

static uint32_t draw(void)
{
    uint32_t *s = bench_state, t = s[1] << 9;
    uint32_t result = s[1] * 5U;
    result = ((result << 7) | (result >> 25)) * 9U;
    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 11) | (s[3] >> 21);
    return result;
}

/* From 0 to bound - 1. */
__attribute__((unused)) static uint32_t draw_below(uint32_t bound)
{
    return (uint32_t)(((uint64_t)draw() * bound) >> 32);
}

/* From low to high, both included. */
__attribute__((unused)) static int32_t draw_between(int32_t low, int32_t high)
{
    return low + (int32_t)draw_below((uint32_t)(high - low) + 1U);
}

__attribute__((unused)) static void draw_bytes(void *data, uint32_t count)
{
    uint8_t *bytes = data;
    for (uint32_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)(draw() >> 11);
}

/* ---- buffers with fences: writing beyond one is told as such ---- */

static void *fenced(const char *name, uint32_t size)
{
    uint8_t *start = bench_arena + bench_arena_used + FENCE_BYTES;
    uint32_t whole = (size + 7U) & ~7U, key = draw();
    if (bench_arena_used + whole + 2U * FENCE_BYTES > ARENA_BYTES || bench_num_buffers == MAX_BUFFERS)
        return 0;
    for (uint32_t i = 0; i < FENCE_BYTES; i++)
        start[(int32_t)i - (int32_t)FENCE_BYTES] = (uint8_t)(key >> (i & 15U));
    for (uint32_t i = 0; i < size; i++)
        start[i] = 0xEE;
    for (uint32_t i = size; i < whole + FENCE_BYTES; i++)
        start[i] = (uint8_t)(key >> (i & 15U));
    bench_buffers[bench_num_buffers].start = start;
    bench_buffers[bench_num_buffers].size = size;
    bench_buffers[bench_num_buffers].key = key;
    bench_buffers[bench_num_buffers++].name = name;
    bench_arena_used += whole + 2U * FENCE_BYTES;
    return start;
}

static void check_fences(void)
{
    for (uint32_t b = 0; b < bench_num_buffers; b++) {
        uint8_t *start = bench_buffers[b].start;
        uint32_t size = bench_buffers[b].size, key = bench_buffers[b].key, broken = 0;
        for (uint32_t i = 0; i < FENCE_BYTES; i++)
            broken |= start[(int32_t)i - (int32_t)FENCE_BYTES] ^ (uint8_t)(key >> (i & 15U));
        for (uint32_t i = size; i < ((size + 7U) & ~7U) + FENCE_BYTES; i++)
            broken |= start[i] ^ (uint8_t)(key >> (i & 15U));
        if (broken) {
            report_unsigned('g', bench_buffers[b].name, size);
            bench_buffers[b].size = bench_buffers[b].key = 0; /* told once */
            bench_num_buffers = 0;
        }
    }
}

/* Give up all fenced buffers, after a last look at their fences. */
__attribute__((unused)) static void free_buffers(void)
{
    check_fences();
    bench_num_buffers = bench_arena_used = 0;
}

/* One sample; its name is one word. */
static void test_case(const char *name)
{
    check_fences();
    bench_cases++;
    report_unsigned('c', name, bench_cases);
}

/* ---- endings ---- */

static void __attribute__((noreturn)) bench_reset_request(void)
{
    __DSB();
    SCB->AIRCR = 0x05FA0004UL;
    for (;;) {
    }
}

extern uint32_t bench_stack_guard[], bench_stack_top[], bench_data_start[], bench_data_end[], bench_data_load[];
extern uint32_t bench_bss_start[], bench_bss_end[], bench_candidate_data_start[], bench_candidate_data_end[];
extern uint32_t bench_candidate_data_load[], bench_candidate_bss_start[], bench_candidate_bss_end[];
extern uint32_t bench_candidate_stack_start[], bench_candidate_stack_end[];

#define STACK_PAINT 0xC5C5C5C5UL

static void __attribute__((noreturn)) bench_end(void)
{
    uint32_t ticks = TIM5->CNT, *untouched = bench_candidate_stack_start;
    check_fences();
    while (untouched < bench_candidate_stack_end && *untouched == STACK_PAINT)
        untouched++;
    line_start('e', "end");
    put_char(' ');
    put_decimal(bench_cases);
    put_char(' ');
    put_decimal((uint32_t)(bench_candidate_stack_end - untouched) * 4U);
    put_char(' ');
    put_decimal(ticks);
    line_end();
    bench_reset_request();
}

__attribute__((used)) static void bench_fault_report(uint32_t psp, uint32_t msp, uint32_t exc_return)
{
    uint32_t words[9] = {__get_IPSR(), SCB->CFSR, SCB->HFSR, SCB->BFAR, SCB->MMFAR, 0, 0xFFFFFFFFUL, 0, exc_return};
    uint32_t sp = (exc_return & 4U) ? psp : msp;
    words[5] = sp;
    if (sp >= 0x20000000UL && sp <= 0x2001FFE0UL && !(sp & 3U)) {
        words[6] = ((uint32_t *)sp)[6];
        uint32_t pc = words[6] & ~1UL;
        if (pc >= 0x08000000UL && pc < 0x08100000UL)
            words[7] = *(uint16_t *)pc;
    }
    line_start('f', "fault");
    for (int i = 0; i < 9; i++) {
        put_char(' ');
        put_hex(words[i], 8);
    }
    line_end();
    bench_reset_request();
}

__attribute__((naked)) static void bench_fault(void)
{
    __asm__ volatile("mrs r0, psp\n mrs r1, msp\n mov r2, lr\n ldr r3, =bench_stack_top\n msr msp, r3\n"
                     "b bench_fault_report\n .ltorg");
}

void bench_unexpected(void);
void bench_unexpected(void)
{
    report_unsigned('u', "exception", __get_IPSR());
    bench_reset_request();
}

static void bench_deadline(void)
{
    report_unsigned('t', "deadline", PARAMETERS[6]);
    bench_reset_request();
}

/* What assert() of the C library calls. */
void __assert_func(const char *file, int line, const char *function, const char *expression)
{
    (void)file;
    (void)function;
    line_start('a', "assert ");
    put_decimal((uint32_t)line);
    put_char(' ');
    while (*expression && *expression != '\n' && *expression != 2)
        put_char(*expression++);
    line_end();
    bench_reset_request();
}

/* ---- vectors: what the candidate defines is used, the linker script names what it does not; faults are ours ---- */

void bench_reset(void);
void SVC_Handler(void);
void PendSV_Handler(void);
void SysTick_Handler(void);
void EXTI0_IRQHandler(void);
void EXTI1_IRQHandler(void);
void EXTI2_IRQHandler(void);
void EXTI3_IRQHandler(void);
void EXTI4_IRQHandler(void);
void DMA1_Stream0_IRQHandler(void);
void ADC_IRQHandler(void);
void TIM2_IRQHandler(void);
void TIM3_IRQHandler(void);
void TIM4_IRQHandler(void);
void SPI1_IRQHandler(void);
void USART2_IRQHandler(void);
void USART3_IRQHandler(void);
void EXTI15_10_IRQHandler(void);

__attribute__((section(".bench_vectors"), used)) static void (*const bench_vectors[98])(void) = {
    [0] = (void (*)(void))(uintptr_t)bench_stack_top,
    [1] = bench_reset,
    [2 ... 6] = bench_fault,
    [7 ... 97] = bench_unexpected,
    [11] = SVC_Handler,
    [14] = PendSV_Handler,
    [15] = SysTick_Handler,
    [16 + EXTI0_IRQn] = EXTI0_IRQHandler,
    [16 + EXTI1_IRQn] = EXTI1_IRQHandler,
    [16 + EXTI2_IRQn] = EXTI2_IRQHandler,
    [16 + EXTI3_IRQn] = EXTI3_IRQHandler,
    [16 + EXTI4_IRQn] = EXTI4_IRQHandler,
    [16 + DMA1_Stream0_IRQn] = DMA1_Stream0_IRQHandler,
    [16 + ADC_IRQn] = ADC_IRQHandler,
    [16 + TIM2_IRQn] = TIM2_IRQHandler,
    [16 + TIM3_IRQn] = TIM3_IRQHandler,
    [16 + TIM4_IRQn] = TIM4_IRQHandler,
    [16 + SPI1_IRQn] = SPI1_IRQHandler,
    [16 + USART2_IRQn] = USART2_IRQHandler,
    [16 + USART3_IRQn] = USART3_IRQHandler,
    [16 + EXTI15_10_IRQn] = EXTI15_10_IRQHandler,
    [16 + TIM5_IRQn] = bench_deadline,
};

/* ---- start-up ---- */

static void mpu_region(uint32_t number, uint32_t base, uint32_t attributes)
{
    volatile uint32_t *mpu = (volatile uint32_t *)0xE000ED90UL;
    mpu[2] = number;
    mpu[3] = base;
    mpu[4] = attributes | 1U;
}

__attribute__((used)) static void bench_main(void)
{
    bench_run();
    bench_end();
}

void bench_reset(void)
{
    SCB->VTOR = 0x08000000UL;
    *(volatile uint32_t *)0xE000ED88UL |= 0xFUL << 20; /* the FPU */
    SCB->CCR |= 1UL << 4;                               /* a division by zero is a fault */
    for (uint32_t *to = bench_data_start, *from = bench_data_load; to < bench_data_end;)
        *to++ = *from++;
    for (uint32_t *to = bench_bss_start; to < bench_bss_end;)
        *to++ = 0;
    for (uint32_t *to = bench_candidate_data_start, *from = bench_candidate_data_load; to < bench_candidate_data_end;)
        *to++ = *from++;
    for (uint32_t *to = bench_candidate_bss_start; to < bench_candidate_bss_end;)
        *to++ = 0;
    for (uint32_t *to = bench_candidate_stack_start; to < bench_candidate_stack_end;)
        *to++ = STACK_PAINT;
    for (int i = 0; i < 4; i++)
        bench_state[i] = PARAMETERS[i];

    /* Nothing lies at the null pointer, flash is not for writing, and the stack of the handlers has a guard below. */
    mpu_region(0, 0x00000000UL, (1UL << 28) | (24UL << 1));                          /* 32 MiB, no access */
    mpu_region(1, 0x08000000UL, (6UL << 24) | (1UL << 17) | (19UL << 1));            /* 1 MiB, read only */
    mpu_region(2, (uint32_t)bench_stack_guard, (1UL << 28) | (7UL << 1));            /* 256 bytes, no access */
    *(volatile uint32_t *)0xE000ED94UL = 5;
    __DSB();
    __ISB();

    for (uint32_t i = 0; i < 82; i++)
        NVIC->IP[i] = 0x80;
    SCB->SHP[7] = SCB->SHP[10] = SCB->SHP[11] = 0x80;
    USART1->CR1 = USART_CR1_UE | USART_CR1_TE;
    TIM5->PSC = 999; /* microseconds */
    TIM5->CNT = 0;
    if (PARAMETERS[6]) {
        TIM5->ARR = PARAMETERS[6];
        TIM5->DIER = TIM_DIER_UIE;
        NVIC->IP[TIM5_IRQn] = 0; /* above everything else */
        NVIC_EnableIRQ(TIM5_IRQn);
    }
    TIM5->CR1 = TIM_CR1_CEN;
    if (!PARAMETERS[6]) { /* input on USART2, whose timing is the host's: no deadline, and the host waits for this */
        USART2->CR1 = USART_CR1_UE | USART_CR1_TE | USART_CR1_RE;
        USART2->DR = '\n';
    }

    __asm__ volatile("msr psp, %0\n mov r0, #2\n msr control, r0\n isb\n bl bench_main\n" ::"r"(
                         bench_candidate_stack_end)
                     : "r0", "lr", "memory");
    for (;;) {
    }
}
