"""What an engineer of each domain would be told to watch: instructions, chosen by tags, files and language."""

from __future__ import annotations

from dataclasses import dataclass

from ecot.outcomes import Domain
from ecot.tasks.bundle import Task


@dataclass(frozen=True)
class InstructionSet:
    """Domain-specific instructions, with what selects them."""

    name: str
    domain: Domain
    text: str
    tags: frozenset[str] = frozenset()
    """Any of these tags selects the set; a set without tags, files or languages serves its whole domain."""
    files: tuple[str, ...] = ()
    """An environment file whose name ends so selects the set."""
    languages: frozenset[str] = frozenset()
    """An answer in one of these languages selects the set."""

    def score(self, task: Task) -> int:
        """How well the set fits: 0 not at all, 1 by its domain alone, more with every tag, file and language found."""
        if task.domain is not self.domain:
            return 0
        files = sum(any(name.endswith(suffix) for name in task.environment) for suffix in self.files)
        hits = len(self.tags & set(task.tags)) + files + (task.language in self.languages)
        return 1 + hits if hits or not (self.tags or self.files or self.languages) else 0


def _tags(*names: str) -> frozenset[str]:
    return frozenset(names)


_RTL = (
    "You are an RTL engineer. Write synthesisable SystemVerilog. Keep the port names and widths of the specification. "
)
_GPU = "You are a GPU kernel engineer. "
_FIRMWARE = "You are a firmware engineer. "
_CAD = "You are a mechanical designer writing CadQuery. "
_PERFORMANCE = "You are a performance engineer. "
_SOFTWARE = "You are a software engineer. "

INSTRUCTION_SETS: tuple[InstructionSet, ...] = (
    InstructionSet(
        "rtl",
        Domain.CHIP_DESIGN,
        _RTL + "Drive every output in every case, so that no latch is inferred, and keep combinational paths short.",
    ),
    InstructionSet(
        "rtl_arithmetic",
        Domain.CHIP_DESIGN,
        _RTL + "Size every operand so that no carry or sign bit is lost, and keep the combinational path shallow.",
        tags=_tags("arithmetic", "adder", "alu", "multiplier", "divider", "saturation", "combinational"),
    ),
    InstructionSet(
        "rtl_control",
        Domain.CHIP_DESIGN,
        _RTL + "Give every state and output a value after reset, cover every case, and register what leaves the block.",
        tags=_tags("fsm", "sequential", "counter", "arbiter", "protocol", "uart", "spi", "timer", "shift_register"),
    ),
    InstructionSet(
        "rtl_memory",
        Domain.CHIP_DESIGN,
        _RTL + "Mind pointer wrap, full and empty flags, simultaneous read and write, and what a reset must clear.",
        tags=_tags("memory", "fifo", "ram", "buffer", "stack", "register_file"),
    ),
    InstructionSet(
        "rtl_clock_domains",
        Domain.CHIP_DESIGN,
        _RTL
        + "Cross clock domains only through synchronisers, one bit or a Gray code at a time, and reset each domain.",
        tags=_tags("clock_domain", "cdc", "synchroniser", "synchronizer", "async"),
    ),
    InstructionSet(
        "gpu_kernel",
        Domain.GPU_OPTIMIZATION,
        _GPU + "Mask the tail of every block, stay within shared memory and registers, avoid divergent warps, and keep "
        "the numerical tolerance of the specification.",
    ),
    InstructionSet(
        "gpu_triton",
        Domain.GPU_OPTIMIZATION,
        _GPU + "Write Triton: block sizes are powers of two, every load and store beyond the data is masked, strides "
        "and sizes are passed in, and the launch grid covers the last, partial block.",
        languages=_tags("python"),
    ),
    InstructionSet(
        "gpu_cuda",
        Domain.GPU_OPTIMIZATION,
        _GPU + "Write CUDA: guard each thread against the end of the data, synchronise the block before shared memory "
        "is read by others, never inside a divergent branch, and mind the budgets of shared memory and registers.",
        languages=_tags("cuda"),
    ),
    InstructionSet(
        "gpu_tiles",
        Domain.GPU_OPTIMIZATION,
        _GPU + "Cut the work into tiles that fit shared memory and registers, mask the ragged edges in each dimension, "
        "and accumulate in float32 before rounding to the output's type.",
        tags=_tags("matmul", "attention", "convolution", "stencil", "tiling", "image"),
    ),
    InstructionSet(
        "gpu_reduction",
        Domain.GPU_OPTIMIZATION,
        _GPU + "Fill masked lanes with the neutral element, accumulate in float32, subtract the maximum before an "
        "exponential, and let no two programs write one result without an atomic operation.",
        tags=_tags("reduction", "softmax", "normalisation", "scan", "loss", "atomics"),
    ),
    InstructionSet(
        "firmware",
        Domain.EMBEDDED,
        _FIRMWARE + "Enable clocks before peripherals, follow the register sequence of the reference manual, share "
        "nothing with an interrupt unless it is volatile, and stay within flash, RAM and stack.",
    ),
    InstructionSet(
        "firmware_registers",
        Domain.EMBEDDED,
        _FIRMWARE + "Enable the clock before the peripheral is touched, follow the register sequence of the reference "
        "manual, change only the bits that are meant, and clear flags in the way that the manual states.",
        tags=_tags("registers", "gpio", "timers", "interrupts", "driver", "nvic", "dma", "adc", "usart", "pwm", "rtc"),
    ),
    InstructionSet(
        "firmware_protocols",
        Domain.EMBEDDED,
        _FIRMWARE + "Trust no length or index that comes from outside, keep the state between calls in the structure "
        "given, mind byte order, and leave a defined state after every malformed frame.",
        tags=_tags(
            "serial", "protocol", "parser", "framing", "codec", "checksum", "crc", "can", "lin", "modbus", "gps"
        ),
    ),
    InstructionSet(
        "firmware_arithmetic",
        Domain.EMBEDDED,
        _FIRMWARE + "State the format of every fixed-point value, widen before multiplying, round and saturate as "
        "specified, and shift negative values only where the result is defined.",
        tags=_tags("fixed_point", "arithmetic", "filter", "dsp", "audio", "interpolation"),
    ),
    InstructionSet(
        "solid_modelling",
        Domain.CAD_3D,
        _CAD + "Leave one valid, closed solid, keep walls and edges above the tolerance, and build every dimension of "
        "the specification.",
    ),
    InstructionSet(
        "solid_profiles",
        Domain.CAD_3D,
        _CAD + "Close every profile before it is revolved, swept or lofted, keep it on one side of its axis, mind on "
        "which plane and around which point the axis lies, and leave one valid solid.",
        tags=_tags("revolve", "sweep", "loft", "profile", "arc", "thread", "pipe", "shaft", "spring", "polyline"),
    ),
    InstructionSet(
        "solid_patterns",
        Domain.CAD_3D,
        _CAD
        + "Place every instance of a pattern from the stated centre and start angle, let added bodies overlap what "
        "they join so that one solid is left, and let cuts go through with room to spare.",
        tags=_tags("pattern", "polar_array", "hole_pattern", "slot", "counterbore", "union", "symmetry"),
    ),
    InstructionSet(
        "solid_walls",
        Domain.CAD_3D,
        _CAD + "Keep walls at their stated thickness on the stated side, round edges before or after hollowing as the "
        "specification says, keep radii below what the neighbouring faces allow, and leave one closed solid.",
        tags=_tags("shell", "fillet", "chamfer", "enclosure", "sheet_metal", "duct"),
    ),
    InstructionSet(
        "machine_code",
        Domain.CODE_OPTIMIZATION,
        _PERFORMANCE + "Keep the calling convention and the results for every input, then reduce memory traffic, "
        "dependency chains and branches.",
    ),
    InstructionSet(
        "machine_code_c",
        Domain.CODE_OPTIMIZATION,
        _PERFORMANCE + "Find the algorithm that needs fewer instructions before tuning the loop, keep the results for "
        "every allowed input, and leave no undefined behaviour for the compiler to exploit.",
        languages=_tags("c"),
    ),
    InstructionSet(
        "machine_code_assembly",
        Domain.CODE_OPTIMIZATION,
        _PERFORMANCE + "Keep the calling convention: restore what must be preserved, align the stack for calls, clear "
        "upper vector halves. Treat empty and short inputs apart, then shorten the inner loop.",
        languages=_tags("asm"),
    ),
    InstructionSet(
        "machine_code_vectors",
        Domain.CODE_OPTIMIZATION,
        _PERFORMANCE + "Work on whole vectors with several accumulators, treat the remainder without reading beyond "
        "the arrays, use unaligned loads unless alignment is promised, and keep the order of floating-point sums "
        "where the result depends on it.",
        tags=_tags("simd", "fma", "matrix"),
    ),
    InstructionSet("general", Domain.GENERAL, _SOFTWARE + "Solve the task completely."),
    InstructionSet(
        "general_formats",
        Domain.GENERAL,
        _SOFTWARE + "Read and write the format exactly as specified, refuse what is malformed with the stated error, "
        "and mind empty input, signs, byte order and the last element.",
        tags=_tags("parser", "bytes", "protocol", "modbus", "csv", "configuration", "compression", "coding", "text"),
    ),
    InstructionSet(
        "general_algorithms",
        Domain.GENERAL,
        _SOFTWARE + "Take an algorithm whose cost suits the largest input, break ties as specified, leave arguments "
        "unchanged, and mind empty, single and repeated elements.",
        tags=_tags("scheduling", "graph", "sorting", "geometry", "simulation", "intervals", "packing", "events"),
    ),
)
"""What can be selected. Of equal scores the later one is taken, so special sets stand after general ones."""


def select_instructions(task: Task) -> InstructionSet:
    """The instruction set that fits the task's domain, tags, environment and language best."""
    return max(enumerate(INSTRUCTION_SETS), key=lambda pair: (pair[1].score(task), pair[0]))[1]
