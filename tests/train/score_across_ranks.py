"""A rank of test_sequence_parallel.py: packs cut over two ranks, against whole documents one by one.

The first rank prints, for each case, the loss and how far the gradients are from the expected ones; and what autograd
keeps of a layer.
"""

import json

import numpy as np
import torch
import torch.distributed as dist
from transformers import LlamaConfig, LlamaForCausalLM, LlamaModel

from ecot.data_mix.batch import Collator, Shard
from ecot.data_mix.store import Document, RunTable
from ecot.kernels.attention import register_attention
from ecot.outcomes import Domain
from ecot.segments import Kind
from ecot.train.head import install_scoring_head
from ecot.train.ulysses import attend_across, sequence_group

WEIGHTS = {Kind.THINKING: 1.0, Kind.ANSWER: 0.5}
P, T, A = Kind.PROMPT, Kind.THINKING, Kind.ANSWER
PACKS = {
    # 18 tokens: the document in the middle lies on both ranks, and a row of the first predicts a token of the second.
    "crossing": [[(3, P), (2, T)], [(2, P), (8, T)], [(1, P), (2, A)]],
    "odd": [[(2, P), (3, A)], [(1, P), (5, T)]],
    "none on the first": [[(9, P)], [(3, P), (4, T)]],
    "none on the second": [[(2, P), (5, T)], [(9, P)]],
    "filler": [],
}
HEADS = ((4, 4), (4, 2), (4, 1))
"""Query, and key and value heads: a rank's own, a part of grouped ones, one that both ranks need."""


def model_of(heads: int, kv_heads: int, attention: str) -> LlamaForCausalLM:
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=heads,
        num_key_value_heads=kv_heads, head_dim=8, initializer_range=0.3, attn_implementation=attention,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def make_documents(pack: list, generator: np.random.Generator) -> list[Document]:
    documents = []
    for runs in pack:
        lengths, kinds = (np.array(column, np.int32) for column in zip(*runs, strict=True))
        ids = generator.integers(0, 64, lengths.sum()).astype(np.int32)
        table = RunTable(lengths, kinds, np.ones_like(lengths))
        documents.append(Document(ids, table, Domain.CHIP_DESIGN, lambda: None))
    return documents


def whole_documents(model: LlamaForCausalLM, documents: list[Document]) -> torch.Tensor:
    """The sum of weighted losses, with full logits, of each document alone."""
    total = torch.zeros(())
    for document in documents:
        ids = torch.from_numpy(document.ids).long()
        weights = torch.tensor([WEIGHTS.get(run.kind, 0.0) for run in document.runs for _ in range(run.length)])
        logits = model(ids[None]).logits[0, :-1]
        nll = torch.nn.functional.cross_entropy(logits, ids[1:], reduction="none")
        total = total + (weights[1:] * nll).sum()
    return total


def compare(heads: int, kv_heads: int, group: dist.ProcessGroup) -> dict[str, dict[str, float]]:
    reference, model = model_of(heads, kv_heads, "eager"), model_of(heads, kv_heads, "ecot_varlen")
    attend_across(model, group)
    install_scoring_head(model, 2**20)
    collator = Collator(None, WEIGHTS, pad_id=0, shard=Shard(dist.get_rank(), 2))
    generator, found = np.random.default_rng(heads + kv_heads), {}
    for name, pack in PACKS.items():
        documents = make_documents(pack, generator)
        expected = whole_documents(reference, documents)
        if documents:
            expected.backward()
        batch = collator.collate(documents)
        loss, stats = model(**batch.to_inputs(), scale=1.0)
        loss.backward()
        sums = torch.tensor([loss.item(), batch.weight_sum, stats[:, 3].sum(), float(len(batch.labels) == 0)])
        dist.all_reduce(sums)
        error = 0.0
        for parameter, target in zip(model.parameters(), reference.parameters(), strict=True):
            dist.all_reduce(parameter.grad)
            wanted = target.grad if documents else torch.zeros_like(parameter)
            error = max(error, (parameter.grad - wanted).abs().max().item() / max(1.0, wanted.abs().max().item()))
            parameter.grad = target.grad = None
        found[name] = {
            "loss": sums[0].item(), "expected": expected.item(), "gradient_error": error,
            "weights": sums[1].item(), "rows": sums[2].item(), "ranks_without_rows": sums[3].item(),
        }  # fmt: skip
    probe = torch.arange(7)[None]
    found["probe"] = {"error": (model(probe).logits - reference(probe).logits).abs().max().item()}
    return found


def saved_bytes(layers: int, stretch: int, group: dist.ProcessGroup) -> int:
    """Bytes that autograd keeps of a bf16 model's forward over this rank's stretch of one document."""
    config = LlamaConfig(
        vocab_size=64, hidden_size=256, intermediate_size=1024, num_hidden_layers=layers, num_attention_heads=8,
        num_key_value_heads=2, head_dim=32, attn_implementation="ecot_varlen", dtype=torch.bfloat16,
    )  # fmt: skip
    model = LlamaModel._from_config(config).train()
    attend_across(model, group)
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    begin = dist.get_rank() * stretch
    bounds = torch.tensor([0, 2 * stretch], dtype=torch.int32)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        hidden = model(
            input_ids=torch.zeros(1, stretch, dtype=torch.long),
            position_ids=torch.arange(begin, begin + stretch)[None],
            use_cache=False,
            **{f"cu_seq_lens_{side}": bounds for side in "qk"},
            **{f"max_length_{side}": 2 * stretch for side in "qk"},
        ).last_hidden_state
    assert hidden.requires_grad
    return sum(size for size, _ in kept.values())


def main() -> None:
    dist.init_process_group("gloo")
    register_attention()
    group = sequence_group(2)
    found = {f"{heads}/{kv_heads}": compare(heads, kv_heads, group) for heads, kv_heads in HEADS}
    saved = saved_bytes(2, 512, group) - saved_bytes(1, 512, group)
    if dist.get_rank() == 0:
        print(json.dumps({"cases": found, "saved": saved}), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
