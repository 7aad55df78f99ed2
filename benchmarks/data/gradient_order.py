"""What grouping packs by cost does to gradients: norms of steps of equal cost against those of random steps.

    python -m benchmarks.data.gradient_order --out benchmarks/results/gradient_order.json

Packs of similar cost come into one step, so a step might also hold packs of similar content. Here a small model (two
layers, width 48) is trained for a while on made-up trajectories of four domains, whose words differ and whose lengths
differ by a factor of nine: the hard case. Then the gradient of every pack is taken at the same weights. A step's
gradient is the weighted mean of its packs', so one set of gradients serves the most even steps (`max_domain_deviation:
1`), steps mixed by domain (0), and any number of random ones. Deterministic; about a minute on one core.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.kernels.measure import environment, write_json
from ecot.data_mix.batch import Collator
from ecot.data_mix.config import DataConfig
from ecot.data_mix.packing import deal_steps
from ecot.data_mix.prepare import PreparedData, prepare
from ecot.data_mix.tokenizer import load_tokenizer
from ecot.run_paths import RunPaths
from ecot.segments import Kind
from ecot.train.config import LlamaShape, ModelConfig
from ecot.train.head import install_scoring_head
from ecot.train.model import build_model

WORDS = {
    "chip_design": "logic reset clock carry always_ff posedge latch assign wire shift valid ready",
    "gpu_optimization": "block warp tile load store stride mask kernel shared grid program dot",
    "embedded": "register timer handler volatile interrupt uart pin bus clock enable divider status",
    "cad_3d": "extrude sketch fillet edge face solid workplane chamfer radius origin plane cut",
}
MEAN_WORDS = {"chip_design": 120, "gpu_optimization": 260, "embedded": 60, "cad_3d": 30}
PACK, PACKS_PER_STEP = 2048, 8
WARM_UP_STEPS = 40
RANDOM_ORDERS = 1000


def write_rows(path: Path, rows: int) -> None:
    """Conversations of one to three turns whose words follow their domain and whose lengths are lognormal."""
    rng = random.Random(1)
    domains = list(WORDS)
    with path.open("w", encoding="utf-8") as handle:
        for number in range(rows):
            domain = rng.choice(domains)
            words = WORDS[domain].split()

            def text(count: float, words: list[str] = words) -> str:
                size = max(3, int(count * rng.lognormvariate(0, 0.6)))
                start = rng.randrange(len(words))
                return " ".join(words[(start + step * rng.choice((1, 1, 1, 5))) % len(words)] for step in range(size))

            messages = [{"role": "user", "content": f"{number}: {text(15)}"}]
            for _ in range(rng.randint(1, 3)):
                thought, answer = text(MEAN_WORDS[domain]), text(MEAN_WORDS[domain] / 2)
                messages.append({"role": "assistant", "content": answer, "reasoning_content": thought})
                messages.append({"role": "tool", "content": text(12)})
            handle.write(json.dumps({"id": str(number), "domain": domain, "messages": messages}) + "\n")


def make_plan(folder: Path, rows: int, tokens: int) -> PreparedData:
    write_rows(folder / "rows.jsonl", rows)
    values = {
        "sources": [{"path": str(folder / "rows.jsonl")}],
        "tokenizer": {"train": {"vocab_size": 1024}},
        "budgets": [{"name": "all", "tokens": tokens}],
        # Attention counts as much as at 32k tokens in the 32B: a third of a document that fills the pack.
        "packing": {
            "pack_tokens": PACK,
            "global_batch_tokens": PACK * PACKS_PER_STEP,
            "attention_crossover": 3 * PACK,
            "max_domain_deviation": 1,
        },
    }
    return prepare(DataConfig.model_validate(values), RunPaths(folder / "run"), seed=1)


def pack_gradients(prepared: PreparedData, folder: Path) -> tuple[torch.Tensor, np.ndarray]:
    """[packs, parameters] sums of weighted token gradients, and [packs] sums of weights, of the packs of full steps."""
    tokenizer = load_tokenizer(folder / "run" / "tokenizer")
    shape = LlamaShape(hidden_size=48, intermediate_size=128, num_layers=2, num_heads=4, num_kv_heads=2, head_dim=12)
    model = build_model(ModelConfig(shape=shape, dtype="float32"), tokenizer, seed=1)
    install_scoring_head(model, workspace_bytes=2**26)
    collator = Collator(prepared.train, {Kind.THINKING: 1.0, Kind.ANSWER: 1.0}, pad_id=0)
    plan = prepared.plan
    steps = [plan.packs(step) for step in range(plan.num_steps)]
    batches = [[collator(pack) for pack in step] for step in steps if not any(pack.is_filler for pack in step)]
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    generator = np.random.default_rng(0)
    for _ in range(WARM_UP_STEPS):
        batch = batches[generator.integers(len(batches))][generator.integers(PACKS_PER_STEP)]
        loss, _ = model(**batch.to_inputs(), scale=1 / batch.weight_sum)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    rows, weights = [], []
    for batch in (batch for step in batches for batch in step):
        loss, _ = model(**batch.to_inputs(), scale=1.0)
        gradients = torch.autograd.grad(loss, list(model.parameters()))
        rows.append(torch.cat([gradient.reshape(-1) for gradient in gradients]))
        weights.append(batch.weight_sum)
    return torch.stack(rows), np.array(weights)


def deal_by_domain(prepared: PreparedData, num_packs: int) -> np.ndarray:
    """The same packs in steps that are mixed by domain, whatever their balance."""
    plan, store = prepared.plan, prepared.train
    packs = [list(pack.documents) for step in range(num_packs // PACKS_PER_STEP) for pack in plan.packs(step)]
    domains = [int(np.bincount(store.domains[pack], weights=store.lengths[pack]).argmax()) for pack in packs]
    steps = deal_steps(plan.costs[:num_packs].tolist(), PACKS_PER_STEP, [1], domains, max_domain_deviation=0)
    return np.array(steps).reshape(-1)


def order_figures(gram: np.ndarray, weights: np.ndarray, order: np.ndarray) -> dict[str, float]:
    """Mean and spread of the norms of step gradients, and their mean squared distance from the mean gradient."""
    steps = order.reshape(-1, PACKS_PER_STEP)
    member = np.zeros((len(steps), len(order)))
    member[np.arange(len(steps))[:, None], steps] = 1
    member /= (member @ weights)[:, None]
    inner = member @ gram @ member.T
    whole = np.ones(len(order)) / weights.sum()
    noise = np.diag(inner) - 2 * member @ gram @ whole + whole @ gram @ whole
    norms = np.sqrt(np.diag(inner))
    return {"norm_mean": norms.mean(), "norm_variance": norms.var(), "noise": noise.mean()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--tokens", type=int, default=500_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        prepared = make_plan(Path(name), options.rows, options.tokens)
        gradients, weights = pack_gradients(prepared, Path(name))
        balance = prepared.plan.header["balance"]
        mixed_order = deal_by_domain(prepared, len(weights))
    gram = (gradients @ gradients.t()).double().numpy()
    even = order_figures(gram, weights, np.arange(len(weights)))
    generator = np.random.default_rng(3)
    orders = [order_figures(gram, weights, generator.permutation(len(weights))) for _ in range(RANDOM_ORDERS)]
    results: dict[str, Any] = {
        "environment": environment("cpu"),
        "packs": len(weights),
        "packs_per_step": PACKS_PER_STEP,
        "parameters": gradients.shape[1],
        "balance": balance,
        "even": even,
        "mixed by domain": order_figures(gram, weights, mixed_order),
        "random": {
            key: {
                "mean": float(np.mean([order[key] for order in orders])),
                "p05": float(np.quantile([order[key] for order in orders], 0.05)),
                "p95": float(np.quantile([order[key] for order in orders], 0.95)),
            }
            for key in even
        },
    }
    results["variance_ratio"] = even["norm_variance"] / results["random"]["norm_variance"]["mean"]
    results["noise_ratio"] = even["noise"] / results["random"]["noise"]["mean"]
    print(json.dumps({key: value for key, value in results.items() if key != "environment"}, indent=1))
    if options.out:
        write_json(options.out, results)


if __name__ == "__main__":
    main()
