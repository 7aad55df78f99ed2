"""A small run made by the real parts: tasks, trajectories executed on Icarus, store, plan, models, exports."""

import asyncio
import json
import shutil
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
from ecot.eval.config import EvalConfig
from ecot.eval.evaluate import Evaluation
from ecot.eval.heldout_loss import pack_documents
from ecot.outcomes import Domain
from ecot.run_paths import RunPaths
from ecot.segments import Kind
from ecot.synthesis.loop import Generated, run_loop
from ecot.synthesis.router import build_prompt
from ecot.synthesis.slots import derive_seed
from ecot.tasks.bundle import Task
from ecot.train.config import LossConfig
from ecot.trajectories import Provenance
from ecot.trajectory_io import write_trajectories

TESTBENCH = """
module testbench;
  `define INPUTS $sformatf("a=%b b=%b", a, b)
  `include "scoreboard.sv"
  logic a, b; wire y;
  {name} dut(.a(a), .b(b), .y(y));
  initial begin
    for (int i = 0; i < 4; i++) begin
      {{a, b}} = i; #1;
      `CHECK(0, y, (a {op} b));
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
    return Task(name, Domain.CHIP_DESIGN, name, spec, "systemverilog", code, name, hidden=hidden)


GATES = {"and_gate": "&", "or_gate": "|", "xor_gate": "^"}


@pytest.fixture(scope="session")
def tasks():
    return {name: gate(name, op) for name, op in GATES.items()}


@pytest.fixture(scope="session")
def backend():
    return make_backend("icarus", workers=1, lint=False, synthesis=False)


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
    """Plain training on every document of a store, until the model knows them by heart."""
    weights = {Kind.THINKING: 1.0, Kind.ANSWER: 1.0}
    collator = Collator(store, weights, pad_id=0, layout="padded")
    inputs = collator(pack_documents(store, 4096)[0]).to_inputs()
    optimizer = torch.optim.AdamW(model.parameters(), lr=6e-3)
    for _ in range(steps):
        hidden = model.model(inputs["input_ids"], use_cache=False).last_hidden_state.flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(model.lm_head(hidden[inputs["row_index"]]), inputs["labels"])
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
    assert memorise(model, run.prepared.heldout, 110) < 0.01
    return {"fresh": fresh, "trained": save_export(run, model, tokenizer, "trained", 2)}


@pytest.fixture(scope="session")
def finished(run, exports, tasks, backend, tmp_path_factory):
    """A copy of the run, evaluated, with what synthesis and training would have left: figures made up and known."""
    paths = RunPaths(tmp_path_factory.mktemp("finished") / "gates")
    for name in ("store", "plan", "tokenizer", "export"):
        shutil.copytree(run.paths.root / name, paths.root / name)
    paths.trajectories.mkdir()
    (paths.trajectories / "summary.json").write_text(json.dumps(synthesis_summary()))
    paths.metrics.write_text("".join(json.dumps(metrics_row(step)) + "\n" for step in range(1, 9)))
    budget = json.loads((paths.plan / "plan.json").read_text())["budgets"][0]
    counts = {"all": budget["planned"], "supervised": 321}
    record = {"name": "small", "plan_step": 1, "counts": counts, "requested_tokens": budget["requested"]}
    (paths.milestones / "small").mkdir(parents=True)
    (paths.milestones / "small" / "milestone.json").write_text(
        json.dumps({**record, "content_hash": budget["content_hash"]})
    )
    config = EvalConfig(max_new_tokens=160, device="cpu", max_corrections=1)
    settings = {"name": "gates", "seed": 3}
    command = "ecot eval gates.yaml eval.max_corrections=1"
    Evaluation(config, run.data, LossConfig(), paths, tasks, backend, settings, command).run()
    return paths


def metrics_row(step):
    losses = {"thinking": 7.0 / step, "answer": 6.0 / step, "observation": 8.0 / step}
    return {"step": step, "tokens": 250 * step, "loss": 6.5 / step, **{f"loss/{k}": v for k, v in losses.items()}}


def synthesis_summary():
    lengths = {"median": 10, "mean": 11.0, "longest": 20, "total": 110}
    attempts = [
        {"COMPILATION_ERROR/syntax": 7, "COMPILATION_ERROR/elaboration": 4, "FUNCTIONAL_MISMATCH": 5, "PASS": 1}
    ]
    attempts.append({"FUNCTIONAL_MISMATCH": 3, "PASS": 13})
    split = {
        "wanted": 17,
        "trajectories": 17,
        "tasks": ["and_gate", "or_gate"],
        "attempts": 33,
        "verdicts": {"PASS": 14, "FUNCTIONAL_MISMATCH": 3},
        "labels_by_attempt": attempts,
        "failing_label_shares": {},
        "operators": {},
        **dict.fromkeys(("thinking", "answers", "observations"), lengths),
        "characters": 4321,
        "refused": {},
        "tool_errors": 0,
    }
    heldout = {**split, "trajectories": 2, "attempts": 2, "tasks": ["xor_gate"], "labels_by_attempt": [{"PASS": 2}]}
    return {
        "identity": "x",
        "splits": {"train": split, "heldout": heldout},
        "discards": {"not_implicated": 6},
        "executions": 58,
        "seconds": 12.0,
        "executions_per_second": 4.8,
        "resumed": 0,
    }
