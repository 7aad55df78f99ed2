"""Firmware for the STM32F4 on an emulated Cortex-M4."""
