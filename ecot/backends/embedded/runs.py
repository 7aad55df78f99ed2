"""One run of an image: what is laid into the device, and the random numbers of it."""

from __future__ import annotations

import hashlib
import hmac
import random
import struct
from dataclasses import dataclass

from ecot.backends.embedded.settings import EmbeddedSettings
from ecot.tasks.bundle import Task

STIMULI_VARIANTS = 8
"""Sets of stimuli per task. A candidate's code chooses one, so the reference runs at most this often per task."""


@dataclass(frozen=True)
class FirmwareRun:
    """An image and all that comes into the device with it."""

    image: bytes
    """ELF."""
    parameters: bytes
    """Seed of the stimuli, nonce and deadline, as `bench.h` reads them."""
    nonce: str
    """Eight hexadecimal digits that start every line of the bench's."""
    capture_usart2: bool = False
    usart2_input: bytes | None = None
    """What arrives on USART2."""


def variant_of(secret: bytes, task: Task, code: str) -> int:
    """Which set of stimuli a candidate gets."""
    return _derive(secret, "variant", task.hash, code)[0] % STIMULI_VARIANTS


def make_run(
    secret: bytes, task: Task, code: str, variant: int, image: bytes, settings: EmbeddedSettings
) -> FirmwareRun:
    """Put a run together; equal arguments give equal runs."""
    stimuli = _derive(secret, "stimuli", task.hash, str(variant))
    nonce = _derive(secret, "nonce", task.hash, code)[:4]
    deadline_us = 0 if settings.usart2_input else settings.deadline_ms * 1000
    # An all-zero state would stay zero.
    parameters = struct.pack("<16s4s4xI", stimuli[:15] + b"\1", nonce[::-1], deadline_us)
    usart2_input = None
    if settings.usart2_input:
        *lines, last = task.hidden[settings.usart2_input].splitlines(keepends=True)
        random.Random(stimuli.hex()).shuffle(lines)
        lines.append(last)
        usart2_input = "".join(lines).replace("\n", "\r\n").encode()
    return FirmwareRun(image, parameters, nonce.hex(), settings.usart2, usart2_input)


def _derive(secret: bytes, purpose: str, *parts: str) -> bytes:
    message = "\0".join((purpose, *parts)).encode("utf-8", "surrogatepass")
    return hmac.new(secret, message, hashlib.sha256).digest()
