"""The prompt router, the observation's form, and the tidying of generated text."""

from dataclasses import replace
from random import Random

import pytest

from ecot.outcomes import Domain, Execution, Label, Stage
from ecot.synthesis.instructions import INSTRUCTION_SETS, select_instructions
from ecot.synthesis.observation import MAX_LINES, observation_text
from ecot.synthesis.postprocess import clean_answer, clean_thinking
from ecot.synthesis.router import build_prompt
from ecot.tasks.bundle import Task
from ecot.tasks.registry import load_tasks
from ecot.trajectories import Role

TASK = Task("t", Domain.CHIP_DESIGN, "A thing", "Do it.\n", "systemverilog", "module t; endmodule", "t")


@pytest.mark.parametrize(
    ("domain", "tags", "name"),
    [
        (Domain.CHIP_DESIGN, (), "rtl"),
        (Domain.CHIP_DESIGN, ("unheard_of",), "rtl"),
        (Domain.CHIP_DESIGN, ("arithmetic", "combinational"), "rtl_arithmetic"),
        (Domain.CHIP_DESIGN, ("sequential", "fsm"), "rtl_control"),
        (Domain.CHIP_DESIGN, ("memory", "sequential"), "rtl_memory"),
        (Domain.CHIP_DESIGN, ("clock_domain",), "rtl_clock_domains"),
        (Domain.GPU_OPTIMIZATION, ("memory",), "gpu_kernel"),
        (Domain.EMBEDDED, (), "firmware"),
        (Domain.CAD_3D, (), "solid_modelling"),
        (Domain.CODE_OPTIMIZATION, (), "machine_code"),
        (Domain.GENERAL, (), "general"),
    ],
)
def test_domain_and_tags_select_the_instructions(domain, tags, name):
    assert select_instructions(replace(TASK, domain=domain, tags=tags)).name == name


def test_every_domain_has_instructions_and_names_are_unique():
    assert {item.domain for item in INSTRUCTION_SETS} == set(Domain)
    assert len({item.name for item in INSTRUCTION_SETS}) == len(INSTRUCTION_SETS)


def test_a_prompt_holds_specification_and_environment_but_nothing_hidden():
    task = replace(TASK, environment={"defs.svh": "`define W 8\n"}, hidden={"testbench.sv": "module secret;"})
    prompt = build_prompt(task, Random(0))
    system, user = prompt.messages
    assert (system.role, user.role) == (Role.SYSTEM, Role.USER)
    assert "systemverilog code block" in system.content
    assert user.content.endswith("Do it.\n\ndefs.svh:\n```\n`define W 8\n```")
    assert "secret" not in user.content
    assert "endmodule" not in user.content


def test_shipped_tasks_meet_more_than_one_instruction_set(tasks):
    names = {select_instructions(task).name for task in tasks.values()}
    assert len(names) >= 3


@pytest.mark.parametrize("domain", [domain for domain in Domain if domain is not Domain.CHIP_DESIGN])
def test_shipped_tasks_of_every_domain_meet_fitting_instructions_and_several_wordings(domain):
    shipped = load_tasks(f"builtin:{domain}")
    chosen = {name: select_instructions(task) for name, task in shipped.items()}
    assert {instructions.domain for instructions in chosen.values()} == {domain}
    assert len({instructions.name for instructions in chosen.values()}) >= 3
    task = next(iter(shipped.values()))
    opening = {build_prompt(task, Random(seed)).messages[1].content.split("\n")[0] for seed in range(60)}
    assert len(opening) >= 5
    assert all("{" not in line for line in opening)
    assert build_prompt(task, Random(3)) == build_prompt(task, Random(3))


@pytest.mark.parametrize(
    ("domain", "language", "tags", "name"),
    [
        (Domain.GPU_OPTIMIZATION, "python", ("elementwise",), "gpu_triton"),
        (Domain.GPU_OPTIMIZATION, "cuda", ("elementwise",), "gpu_cuda"),
        (Domain.GPU_OPTIMIZATION, "cuda", ("reduction",), "gpu_reduction"),
        (Domain.GPU_OPTIMIZATION, "python", ("matmul",), "gpu_tiles"),
        (Domain.CODE_OPTIMIZATION, "c", ("bits",), "machine_code_c"),
        (Domain.CODE_OPTIMIZATION, "asm", ("bits",), "machine_code_assembly"),
        (Domain.CODE_OPTIMIZATION, "asm", ("simd", "fma"), "machine_code_vectors"),
        (Domain.EMBEDDED, "c", ("usart", "registers"), "firmware_registers"),
        (Domain.EMBEDDED, "c", ("fixed_point",), "firmware_arithmetic"),
        (Domain.CAD_3D, "python", ("revolve",), "solid_profiles"),
        (Domain.GENERAL, "python", ("parser",), "general_formats"),
    ],
)
def test_the_language_of_the_answer_selects_instructions_too(domain, language, tags, name):
    task = replace(TASK, domain=domain, language=language, tags=tags)
    assert select_instructions(task).name == name


def test_an_observation_is_plain_and_stable():
    execution = Execution(Label.COMPILATION_ERROR, "syntax", Stage.COMPILE, "candidate.sv:3: syntax error\n")
    assert observation_text(execution) == (
        "outcome: COMPILATION_ERROR (syntax)\nstage: compile\ncandidate.sv:3: syntax error"
    )
    silent = Execution(Label.TIMEOUT, "run", Stage.RUN, "")
    assert observation_text(silent) == "outcome: TIMEOUT (run)\nstage: run\nThe tool printed nothing."
    assert observation_text(Execution(Label.PASS, "", Stage.CHECK, "")) == "outcome: PASS\nstage: check"


def test_a_flood_of_messages_is_cut():
    execution = Execution(Label.COMPILATION_ERROR, "syntax", Stage.COMPILE, "x\n" * 40)
    assert observation_text(execution).count("\n") == 2 + MAX_LINES
    assert observation_text(execution).endswith(f"... {40 - MAX_LINES} more lines")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (
            "<think>\nOkay, let me think about this.\nThe bus is 8 bits.  \n\n\n\nSo.</think>",
            "The bus is 8 bits.\n\nSo.",
        ),
        ("Hmm, Right. The FIFO wraps.", "The FIFO wraps."),
        ("Right shift fills with zeros.", "Right shift fills with zeros."),
        ("Well formed input only.", "Well formed input only."),
        ("OK", "OK"),
        ("", ""),
    ],
)
def test_thinking_loses_blanks_tags_and_filler_only(text, clean):
    assert clean_thinking(text) == clean


def test_answers_get_one_normal_fence():
    assert clean_answer("~~~SV  \nmodule m;  \nendmodule\n~~~", "systemverilog") == "~~~SV\nmodule m;\nendmodule\n~~~"
    assert clean_answer("```SV\n\nmodule m;  \nendmodule\n\n```\n", "systemverilog") == (
        "```systemverilog\nmodule m;\nendmodule\n```"
    )
    assert clean_answer("Here:\n```sv\na\n```\nDone.", "systemverilog") == "Here:\n```sv\na\n```\nDone."
    assert clean_answer("no code  ", "systemverilog") == "no code"
