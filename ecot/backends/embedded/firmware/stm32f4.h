/* Registers and intrinsics of the STM32F405/407, in the names of CMSIS. Every candidate is compiled with this header.
 *
 * Modelled by the emulator: SysTick, NVIC, SCB, MPU, FPU, TIM2 to TIM5, USART1 to USART6, SPI1 to SPI3, ADC, EXTI,
 * SYSCFG. Not modelled by QEMU before 10: RCC and GPIO (they read as 0 and ignore what is written).
 */
#ifndef STM32F4_H
#define STM32F4_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define __IO volatile
#define __I volatile const
#define __O volatile

typedef struct {
    __IO uint32_t CR, PLLCFGR, CFGR, CIR, AHB1RSTR, AHB2RSTR, AHB3RSTR, RESERVED0, APB1RSTR, APB2RSTR, RESERVED1[2];
    __IO uint32_t AHB1ENR, AHB2ENR, AHB3ENR, RESERVED2, APB1ENR, APB2ENR, RESERVED3[2], AHB1LPENR, AHB2LPENR, AHB3LPENR;
    __IO uint32_t RESERVED4, APB1LPENR, APB2LPENR, RESERVED5[2], BDCR, CSR, RESERVED6[2], SSCGR, PLLI2SCFGR;
} RCC_TypeDef;

typedef struct {
    __IO uint32_t MODER, OTYPER, OSPEEDR, PUPDR, IDR, ODR, BSRR, LCKR, AFR[2];
} GPIO_TypeDef;

typedef struct {
    __IO uint32_t SR, DR, BRR, CR1, CR2, CR3, GTPR;
} USART_TypeDef;

typedef struct {
    __IO uint32_t CR1, CR2, SMCR, DIER, SR, EGR, CCMR1, CCMR2, CCER, CNT, PSC, ARR, RCR, CCR1, CCR2, CCR3, CCR4, BDTR;
    __IO uint32_t DCR, DMAR, OR;
} TIM_TypeDef;

typedef struct {
    __IO uint32_t CR1, CR2, SR, DR, CRCPR, RXCRCR, TXCRCR, I2SCFGR, I2SPR;
} SPI_TypeDef;

typedef struct {
    __IO uint32_t SR, CR1, CR2, SMPR1, SMPR2, JOFR1, JOFR2, JOFR3, JOFR4, HTR, LTR, SQR1, SQR2, SQR3, JSQR;
    __IO uint32_t JDR1, JDR2, JDR3, JDR4, DR;
} ADC_TypeDef;

typedef struct {
    __IO uint32_t CR, NDTR, PAR, M0AR, M1AR, FCR;
} DMA_Stream_TypeDef;

typedef struct {
    __IO uint32_t MCR, MSR, TSR, RF0R, RF1R, IER, ESR, BTR;
} CAN_TypeDef;

typedef struct {
    __IO uint32_t CR1, CR2, OAR1, OAR2, DR, SR1, SR2, CCR, TRISE, FLTR;
} I2C_TypeDef;

typedef struct {
    __IO uint32_t KR, PR, RLR, SR;
} IWDG_TypeDef;

typedef struct {
    __IO uint32_t IMR, EMR, RTSR, FTSR, SWIER, PR;
} EXTI_TypeDef;

typedef struct {
    __IO uint32_t MEMRMP, PMC, EXTICR[4], RESERVED[2], CMPCR;
} SYSCFG_TypeDef;

typedef struct {
    __IO uint32_t CTRL, LOAD, VAL;
    __I uint32_t CALIB;
} SysTick_Type;

typedef struct {
    __IO uint32_t ISER[8], RESERVED0[24], ICER[8], RESERVED1[24], ISPR[8], RESERVED2[24], ICPR[8], RESERVED3[24];
    __IO uint32_t IABR[8], RESERVED4[56];
    __IO uint8_t IP[240];
    uint32_t RESERVED5[644];
    __O uint32_t STIR;
} NVIC_Type;

typedef struct {
    __I uint32_t CPUID;
    __IO uint32_t ICSR, VTOR, AIRCR, SCR, CCR;
    __IO uint8_t SHP[12];
    __IO uint32_t SHCSR, CFSR, HFSR, DFSR, MMFAR, BFAR, AFSR;
} SCB_Type;

#define SysTick ((SysTick_Type *)0xE000E010UL)
#define NVIC ((NVIC_Type *)0xE000E100UL)
#define SCB ((SCB_Type *)0xE000ED00UL)

#define TIM2 ((TIM_TypeDef *)0x40000000UL)
#define TIM3 ((TIM_TypeDef *)0x40000400UL)
#define TIM4 ((TIM_TypeDef *)0x40000800UL)
#define TIM5 ((TIM_TypeDef *)0x40000C00UL)
#define IWDG ((IWDG_TypeDef *)0x40003000UL)
#define SPI2 ((SPI_TypeDef *)0x40003800UL)
#define SPI3 ((SPI_TypeDef *)0x40003C00UL)
#define USART2 ((USART_TypeDef *)0x40004400UL)
#define USART3 ((USART_TypeDef *)0x40004800UL)
#define I2C1 ((I2C_TypeDef *)0x40005400UL)
#define CAN1 ((CAN_TypeDef *)0x40006400UL)
#define USART1 ((USART_TypeDef *)0x40011000UL)
#define USART6 ((USART_TypeDef *)0x40011400UL)
#define ADC1 ((ADC_TypeDef *)0x40012000UL)
#define SPI1 ((SPI_TypeDef *)0x40013000UL)
#define SYSCFG ((SYSCFG_TypeDef *)0x40013800UL)
#define EXTI ((EXTI_TypeDef *)0x40013C00UL)
#define GPIOA ((GPIO_TypeDef *)0x40020000UL)
#define GPIOB ((GPIO_TypeDef *)0x40020400UL)
#define GPIOC ((GPIO_TypeDef *)0x40020800UL)
#define GPIOD ((GPIO_TypeDef *)0x40020C00UL)
#define RCC ((RCC_TypeDef *)0x40023800UL)

#define SRAM_BASE 0x20000000UL
#define SRAM_BB_BASE 0x22000000UL
#define PERIPH_BASE 0x40000000UL
#define PERIPH_BB_BASE 0x42000000UL

#define SysTick_CTRL_ENABLE_Msk (1UL << 0)
#define SysTick_CTRL_TICKINT_Msk (1UL << 1)
#define SysTick_CTRL_CLKSOURCE_Msk (1UL << 2)
#define SysTick_CTRL_COUNTFLAG_Msk (1UL << 16)

#define USART_SR_PE (1UL << 0)
#define USART_SR_FE (1UL << 1)
#define USART_SR_ORE (1UL << 3)
#define USART_SR_RXNE (1UL << 5)
#define USART_SR_TC (1UL << 6)
#define USART_SR_TXE (1UL << 7)
#define USART_CR1_RE (1UL << 2)
#define USART_CR1_TE (1UL << 3)
#define USART_CR1_RXNEIE (1UL << 5)
#define USART_CR1_TXEIE (1UL << 7)
#define USART_CR1_PS (1UL << 9)
#define USART_CR1_PCE (1UL << 10)
#define USART_CR1_M (1UL << 12)
#define USART_CR1_UE (1UL << 13)
#define USART_CR1_OVER8 (1UL << 15)

#define TIM_CR1_CEN (1UL << 0)
#define TIM_CR1_UDIS (1UL << 1)
#define TIM_CR1_URS (1UL << 2)
#define TIM_CR1_OPM (1UL << 3)
#define TIM_CR1_DIR (1UL << 4)
#define TIM_CR1_ARPE (1UL << 7)
#define TIM_DIER_UIE (1UL << 0)
#define TIM_SR_UIF (1UL << 0)
#define TIM_EGR_UG (1UL << 0)
#define TIM_CCER_CC1E (1UL << 0)
#define TIM_CCER_CC1P (1UL << 1)
#define TIM_BDTR_MOE (1UL << 15)

#define SPI_CR1_CPHA (1UL << 0)
#define SPI_CR1_CPOL (1UL << 1)
#define SPI_CR1_MSTR (1UL << 2)
#define SPI_CR1_SPE (1UL << 6)
#define SPI_CR1_LSBFIRST (1UL << 7)
#define SPI_CR1_SSI (1UL << 8)
#define SPI_CR1_SSM (1UL << 9)
#define SPI_CR1_DFF (1UL << 11)
#define SPI_SR_RXNE (1UL << 0)
#define SPI_SR_TXE (1UL << 1)
#define SPI_SR_BSY (1UL << 7)

typedef enum {
    SVCall_IRQn = -5,
    PendSV_IRQn = -2,
    SysTick_IRQn = -1,
    WWDG_IRQn = 0,
    EXTI0_IRQn = 6,
    EXTI1_IRQn = 7,
    EXTI2_IRQn = 8,
    EXTI3_IRQn = 9,
    EXTI4_IRQn = 10,
    DMA1_Stream0_IRQn = 11,
    ADC_IRQn = 18,
    TIM2_IRQn = 28,
    TIM3_IRQn = 29,
    TIM4_IRQn = 30,
    SPI1_IRQn = 35,
    USART1_IRQn = 37,
    USART2_IRQn = 38,
    USART3_IRQn = 39,
    EXTI15_10_IRQn = 40,
    TIM5_IRQn = 50
} IRQn_Type;

#define __ALWAYS_INLINE static inline __attribute__((always_inline))

__ALWAYS_INLINE void __enable_irq(void) { __asm__ volatile("cpsie i" ::: "memory"); }
__ALWAYS_INLINE void __disable_irq(void) { __asm__ volatile("cpsid i" ::: "memory"); }
__ALWAYS_INLINE void __DSB(void) { __asm__ volatile("dsb 0xF" ::: "memory"); }
__ALWAYS_INLINE void __ISB(void) { __asm__ volatile("isb 0xF" ::: "memory"); }
__ALWAYS_INLINE void __DMB(void) { __asm__ volatile("dmb 0xF" ::: "memory"); }
__ALWAYS_INLINE void __WFI(void) { __asm__ volatile("wfi" ::: "memory"); }
__ALWAYS_INLINE void __NOP(void) { __asm__ volatile("nop"); }

__ALWAYS_INLINE uint32_t __get_PRIMASK(void)
{
    uint32_t value;
    __asm__ volatile("mrs %0, primask" : "=r"(value));
    return value;
}
__ALWAYS_INLINE void __set_PRIMASK(uint32_t value) { __asm__ volatile("msr primask, %0" ::"r"(value) : "memory"); }
__ALWAYS_INLINE uint32_t __get_BASEPRI(void)
{
    uint32_t value;
    __asm__ volatile("mrs %0, basepri" : "=r"(value));
    return value;
}
__ALWAYS_INLINE void __set_BASEPRI(uint32_t value) { __asm__ volatile("msr basepri, %0" ::"r"(value) : "memory"); }
__ALWAYS_INLINE uint32_t __get_IPSR(void)
{
    uint32_t value;
    __asm__ volatile("mrs %0, ipsr" : "=r"(value));
    return value;
}
__ALWAYS_INLINE uint32_t __get_PSP(void)
{
    uint32_t value;
    __asm__ volatile("mrs %0, psp" : "=r"(value));
    return value;
}
__ALWAYS_INLINE uint32_t __CLZ(uint32_t value) { return value ? (uint32_t)__builtin_clz(value) : 32U; }
__ALWAYS_INLINE uint32_t __REV(uint32_t value) { return __builtin_bswap32(value); }
__ALWAYS_INLINE uint32_t __RBIT(uint32_t value)
{
    uint32_t result;
    __asm__("rbit %0, %1" : "=r"(result) : "r"(value));
    return result;
}
__ALWAYS_INLINE uint32_t __LDREXW(volatile uint32_t *address)
{
    uint32_t result;
    __asm__ volatile("ldrex %0, [%1]" : "=r"(result) : "r"(address) : "memory");
    return result;
}
__ALWAYS_INLINE uint32_t __STREXW(uint32_t value, volatile uint32_t *address)
{
    uint32_t failed;
    __asm__ volatile("strex %0, %1, [%2]" : "=&r"(failed) : "r"(value), "r"(address) : "memory");
    return failed;
}

__ALWAYS_INLINE void NVIC_EnableIRQ(IRQn_Type irq) { NVIC->ISER[(uint32_t)irq >> 5] = 1UL << ((uint32_t)irq & 31U); }
__ALWAYS_INLINE void NVIC_DisableIRQ(IRQn_Type irq) { NVIC->ICER[(uint32_t)irq >> 5] = 1UL << ((uint32_t)irq & 31U); }
__ALWAYS_INLINE void NVIC_SetPendingIRQ(IRQn_Type irq)
{
    NVIC->ISPR[(uint32_t)irq >> 5] = 1UL << ((uint32_t)irq & 31U);
    __DSB();
    __ISB();
}
__ALWAYS_INLINE void NVIC_ClearPendingIRQ(IRQn_Type irq)
{
    NVIC->ICPR[(uint32_t)irq >> 5] = 1UL << ((uint32_t)irq & 31U);
}
/* Priorities have four bits; 0 is the highest. */
__ALWAYS_INLINE void NVIC_SetPriority(IRQn_Type irq, uint32_t priority)
{
    if (irq < 0)
        SCB->SHP[((uint32_t)irq & 0xFU) - 4U] = (uint8_t)(priority << 4);
    else
        NVIC->IP[irq] = (uint8_t)(priority << 4);
}
__ALWAYS_INLINE uint32_t SysTick_Config(uint32_t ticks)
{
    if (ticks - 1U > 0xFFFFFFUL)
        return 1;
    SysTick->LOAD = ticks - 1U;
    SysTick->VAL = 0;
    SysTick->CTRL = SysTick_CTRL_CLKSOURCE_Msk | SysTick_CTRL_TICKINT_Msk | SysTick_CTRL_ENABLE_Msk;
    return 0;
}

#endif
