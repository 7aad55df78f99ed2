"""The prompt router: what an engineer of the task's domain would be told to watch, and the request itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from random import Random

from ecot.outcomes import Domain
from ecot.tasks.bundle import Task
from ecot.trajectories import Message, Role


@dataclass(frozen=True)
class InstructionSet:
    """Domain-specific instructions, with what selects them."""

    name: str
    domain: Domain
    text: str
    tags: frozenset[str] = frozenset()
    """Any of these tags selects the set; a set without tags or files serves its whole domain."""
    files: tuple[str, ...] = ()
    """An environment file whose name ends so selects the set."""

    def score(self, task: Task) -> int:
        """How well the set fits: 0 not at all, 1 by its domain alone, more with every tag and file found."""
        if task.domain is not self.domain:
            return 0
        hits = len(self.tags & set(task.tags)) + sum(
            any(name.endswith(suffix) for name in task.environment) for suffix in self.files
        )
        return 1 + hits if hits or not (self.tags or self.files) else 0


@dataclass(frozen=True)
class Prompt:
    """The opening of a conversation."""

    instruction: str
    """Name of the instruction set."""
    messages: tuple[Message, ...]


def _tags(*names: str) -> frozenset[str]:
    return frozenset(names)


_RTL = (
    "You are an RTL engineer. Write synthesisable SystemVerilog. Keep the port names and widths of the specification. "
)

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
        "You are a GPU kernel engineer. Mask the tail of every block, stay within shared memory and registers, avoid "
        "divergent warps, and keep the numerical tolerance of the specification.",
    ),
    InstructionSet(
        "firmware",
        Domain.EMBEDDED,
        "You are a firmware engineer. Enable clocks before peripherals, follow the register sequence of the reference "
        "manual, share nothing with an interrupt unless it is volatile, and stay within flash, RAM and stack.",
    ),
    InstructionSet(
        "solid_modelling",
        Domain.CAD_3D,
        "You are a mechanical designer writing CadQuery. Leave one valid, closed solid, keep walls and edges above the "
        "tolerance, and build every dimension of the specification.",
    ),
    InstructionSet(
        "machine_code",
        Domain.CODE_OPTIMIZATION,
        "You are a performance engineer. Keep the calling convention and the results for every input, then reduce "
        "memory traffic, dependency chains and branches.",
    ),
    InstructionSet("general", Domain.GENERAL, "You are a software engineer. Solve the task completely."),
)
"""What can be selected. Of equal scores the later one is taken, so special sets stand after general ones."""

_ANSWER_RULE = "Think first, then answer with the complete code in one {language} code block."

_REQUESTS = (
    "Implement `{entry}` as specified.",
    "Write the {unit} `{entry}` to this specification.",
    "Here is a specification. Implement it as the {unit} `{entry}`.",
    "Please design `{entry}`. The specification:",
    "The {unit} `{entry}` is needed. It has to do the following.",
    "Task: {title}. Implement the {unit} `{entry}`.",
)

_UNITS: Mapping[Domain, str] = {Domain.CHIP_DESIGN: "module", Domain.CAD_3D: "script"}


def select_instructions(task: Task) -> InstructionSet:
    """The instruction set that fits the task's domain, tags and environment best."""
    return max(enumerate(INSTRUCTION_SETS), key=lambda pair: (pair[1].score(task), pair[0]))[1]


def build_prompt(task: Task, rng: Random) -> Prompt:
    """System and user message for a task; `rng` only chooses how the request is worded."""
    chosen = select_instructions(task)
    system = f"{chosen.text} {_ANSWER_RULE.format(language=task.language)}"
    unit = _UNITS.get(task.domain, "function")
    request = rng.choice(_REQUESTS).format(entry=task.entry, unit=unit, title=task.title)
    parts = [request, task.spec.strip()]
    for name, text in sorted(task.environment.items()):
        parts.append(f"{name}:\n```\n{text.strip()}\n```")
    return Prompt(chosen.name, (Message(Role.SYSTEM, system), Message(Role.USER, "\n\n".join(parts))))
