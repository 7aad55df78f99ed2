"""A small run made by the real parts: tasks, trajectories executed on Icarus, store, plan, a trained model, its export."""

import asyncio
import json
from random import Random
from types import SimpleNamespace

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from ecot.answers import format_answer
from ecot.backends.registry import make_backend
from ecot.data_mix.batch import Collator
from ecot.data_mix.config import DataConfig
from ecot.data_mix.prepare import prepare
from ecot.data_mix.tokenizer import load_tokenizer
from ecot.eval.heldout_loss import pack_documents
from ecot.outcomes import Domain
from ecot.run_paths import RunPaths
from ecot.segments import Kind
from ecot.synthesis.loop import Generated, run_loop
from ecot.synthesis.router import build_prompt
from ecot.synthesis.slots import derive_seed
from ecot.tasks.bundle import Task
from ecot.trajectories import Provenance
from ecot.trajectory_io import write_trajectories

TESTBENCH = """
module testbench;
  `include "scoreboard.sv"
  logic a, b; wire y;
  {name} dut(.a(a), .b(b), .y(y));
  initial begin
    for (int i = 0; i < 4; i++) begin
      {{a, b}} = i; #1;
      show_inputs($sformatf("a=%b b=%b", a, b));
      `CHECK(0, y, a {op} b);
      end_sample();
    end
    finish_test();
  end
endmodule
"""


def gate(name, op):
    code = f"module {name}(input logic a, input logic b, output logic y);\n  assign y = a {op} b;\nendmodule\n"
    hidden = {"testbench.sv": TESTBENCH.format(name=name, op=op)}
    spec = f"Output y is a {op} b."
    return Task(name, Domain.CHIP_DESIGN, name, spec, "systemverilog", code, name, hidden=hidden, tags=("combinational",))


GATES = {"and_gate": "&", "or_gate": "|", "xor_gate": "^"}


@pytest.fixture(scope="session")
def tasks():
    return {name: gate(name, op) for name, op in GATES.items()}


@pytest.fixture(scope="session")
def backend():
    return make_backend("icarus", workers=1)


class Script:
    """Writes the attempts it was given; the synthesis loop executes them for real."""

    def __init__(self, turns):
        self.turns = iter(turns)

    async def generate(self, task, messages):
        return Generated(*next(self.turns))


def scripts(task):
    """What is done on each task: `and` passes at once, `or` on the second attempt, `xor` never."""
    good = ("It is one assignment.", format_answer(task.reference, "systemverilog"))
    broken = ("I write it down.", format_answer(task.reference.replace(";\nendmodule", "\nendmodule"), "systemverilog"))
    wrong = ("The gate is simple.", format_answer(task.reference.replace("a ^ b", "a"), "systemverilog"))
    return {"and_gate": [good], "or_gate": [broken, good], "xor_gate": [wrong, wrong]}[task.id]


@pytest.fixture(scope="session")
def trajectories(tasks, backend):
    async def make():
        made = []
        for task in tasks.values():
            # The wording that the evaluation will choose for sample 0 at seed 0.
            prompt = build_prompt(task, Random(derive_seed("eval", 0, task.id, 0)))
            provenance = Provenance("script", prompt.instruction, 0)
            turns = scripts(task)
            made.append(await run_loop(task, prompt, Script(turns), backend, provenance, len(turns) - 1))
        return made

    return asyncio.run(make())


DATA = {
    "tokenizer": {"train": {"vocab_size": 600}},
    "budgets": [{"name": "small", "tokens": 500}],
    "packing": {"pack_tokens": 512, "global_batch_tokens": 512},
}


@pytest.fixture(scope="session")
def run(tmp_path_factory, trajectories):
    """The folder of a run with data and plan; the same trajectories are trained on and held out."""
    paths = RunPaths(tmp_path_factory.mktemp("runs") / "gates")
    for name in ("train", "heldout"):
        write_trajectories(paths.trajectories / f"{name}.parquet", trajectories)
    data = DataConfig.model_validate(DATA)
    return SimpleNamespace(paths=paths, data=data, prepared=prepare(data, paths, seed=1))


def tiny_llama(tokenizer, initializer_range=0.02):
    torch.manual_seed(2)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=640,
            hidden_size=64,
            intermediate_size=128,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=1024,
            initializer_range=initializer_range,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def save_export(run, model, tokenizer, name, plan_step):
    """As `ecot export` leaves it."""
    folder = run.paths.export / name
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    record = {"name": name, "plan_step": plan_step, "counts": {"all": 1000 * plan_step}}
    (folder / "milestone.json").write_text(json.dumps(record))
    return folder


def memorise(model, store, steps):
    """Plain full-logits training on every document of a store, until it knows them by heart."""
    weights = {Kind.THINKING: 1.0, Kind.ANSWER: 1.0}
    collator = Collator(store, weights, pad_id=0, layout="padded")
    inputs = collator(pack_documents(store, 4096)[0]).to_inputs()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for _ in range(steps):
        logits = model(inputs["input_ids"], use_cache=False).logits.flatten(0, 1)[inputs["row_index"]]
        loss = torch.nn.functional.cross_entropy(logits, inputs["labels"])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


@pytest.fixture(scope="session")
def exports(run):
    """Two exports: `fresh` with random weights, `trained` that knows the trajectories by heart."""
    tokenizer = load_tokenizer(run.paths.tokenizer)
    model = tiny_llama(tokenizer)
    fresh = save_export(run, model, tokenizer, "fresh", 1)
    assert memorise(model, run.prepared.heldout, 150) < 0.01
    return {"fresh": fresh, "trained": save_export(run, model, tokenizer, "trained", 2)}
