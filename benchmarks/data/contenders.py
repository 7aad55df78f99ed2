"""Who turns JSONL into packed rows: each runs in a process of its own, over `rows.jsonl` and `tok/` of a folder."""

from __future__ import annotations

import cProfile
import json
import os
import pstats
import resource
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PACK = 16_384
STAGES = {
    "hash the sources": ("sources.py", "hash_file"),
    "JSON to validated trajectories": ("sources.py", "rows"),
    "render and find segments": ("rendering.py", "render"),
    "tokenizers": ("encoder.py", "encode"),
    "segments of tokens": ("alignment.py", "align"),
    "digests": ("documents.py", "digest"),
    "keys for duplicates": ("text_keys.py", "normalised_key"),
    "write shards": ("store_writer.py", "write_documents"),
    "filters and account": ("selection.py", "select"),
    "plan": ("plan_builder.py", "build_plan"),
}
"""Name to the file and function whose time counts as it, callees included; none is called by another."""


@dataclass
class Clock:
    """Wall and CPU seconds of the part that counts: imports and loading of the tokenizer do not."""

    wall: float = 0.0
    cpu: float = 0.0

    def start(self) -> None:
        self.wall, self.cpu = time.perf_counter(), cpu_seconds()

    def stop(self) -> None:
        self.wall, self.cpu = time.perf_counter() - self.wall, cpu_seconds() - self.cpu


def cpu_seconds() -> float:
    """Of this process and of those that it started and waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(entry.ru_utime + entry.ru_stime for entry in used)


def run_floor(folder: Path, workers: int, clock: Clock) -> int:
    """Render the chat template and call `encode_batch`, nothing else: no masks, no checks, no store, no packs."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "tok")
    encode = tokenizer.backend_tokenizer.encode_batch
    clock.start()
    total, texts = 0, []
    with (folder / "rows.jsonl").open(encoding="utf-8") as handle:
        for line in handle:
            texts.append(tokenizer.apply_chat_template(json.loads(line)["messages"], tokenize=False))
            if len(texts) == 256:
                total += sum(len(encoding.ids) for encoding in encode(texts, add_special_tokens=False))
                texts = []
    total += sum(len(encoding.ids) for encoding in encode(texts, add_special_tokens=False))
    clock.stop()
    return total


def run_ecot(folder: Path, workers: int, clock: Clock) -> int:
    """Store and plan, as `ecot plan` makes them, filters for exact duplicates included."""
    from ecot.data_mix.config import DataConfig, SourceConfig
    from ecot.data_mix.plan_builder import build_plan
    from ecot.data_mix.store_builder import StoreBuilder
    from ecot.progress import no_progress

    values = {
        "tokenizer": {"path": str(folder / "tok")},
        "template": "base",
        "workers": workers,
        "budgets": [{"name": "all", "tokens": 1}],
        "packing": {"pack_tokens": PACK, "global_batch_tokens": 8 * PACK},
    }
    config = DataConfig.model_validate(values)
    clock.start()
    with tempfile.TemporaryDirectory(dir=folder) as out:
        source = SourceConfig(path=folder / "rows.jsonl")
        store = StoreBuilder(config, [source], folder / "tok", Path(out) / "store").build(no_progress)
        tokens = int(store.lengths.sum())
        config = DataConfig.model_validate(values | {"budgets": [{"name": "all", "tokens": tokens}]})
        build_plan(config, store, 1, Path(out) / "plan")
    clock.stop()
    return tokens


def run_trl(folder: Path, workers: int, clock: Clock) -> int:
    """`SFTTrainer._prepare_dataset`: assistant-only loss, best-fit-decreasing packing, all else at its default. The
    rows are in Arrow already when the clock starts."""
    import datasets
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
    from trl import SFTConfig, SFTTrainer

    class TimedTrainer(SFTTrainer):
        def _prepare_dataset(self, *args: Any, **kwargs: Any) -> Any:
            clock.start()
            prepared = super()._prepare_dataset(*args, **kwargs)
            clock.stop()
            return prepared

    datasets.disable_caching()
    datasets.disable_progress_bars()
    tokenizer = AutoTokenizer.from_pretrained(folder / "tok")
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape))
    rows = datasets.load_dataset(
        "json", data_files=str(folder / "rows.jsonl"), split="train", cache_dir=str(folder / "cache")
    )
    arguments = SFTConfig(
        output_dir=str(folder / "out"),
        assistant_only_loss=True,
        packing=True,
        max_length=PACK,
        dataset_num_proc=workers if workers > 1 else None,
        use_cpu=True,
        bf16=False,
        report_to=[],
    )
    rows = rows.select_columns(["messages"])
    trainer = TimedTrainer(model, arguments, train_dataset=rows, processing_class=tokenizer)
    return sum(len(row["input_ids"]) for row in trainer.train_dataset)


CONTENDERS: dict[str, tuple[Callable[[Path, int, Clock], int], bool]] = {
    "floor": (run_floor, True),
    "ecot": (run_ecot, True),
    "trl": (run_trl, False),
    "trl, processes": (run_trl, True),
}
"""Name to function, and whether it gets all cores as workers."""


def run_one(name: str, folder: Path, cores: int) -> dict[str, float]:
    """One run in this process: tokens, and wall and CPU seconds."""
    function, on_all_cores = CONTENDERS[name]
    clock = Clock()
    tokens = function(folder, cores if on_all_cores else 1, clock)
    return {"tokens": tokens, "wall": clock.wall, "cpu": clock.cpu}


def profile_ecot(folder: Path) -> dict[str, float]:
    """Share of the time of each stage, in one process and thread under Python's profiler."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # as in the workers; otherwise threads hide their share
    profiler, clock = cProfile.Profile(), Clock()
    profiler.enable()
    run_ecot(folder, 0, clock)
    profiler.disable()
    found = dict.fromkeys(STAGES, 0.0)
    for (file, _, function), (_, _, _, cumulative, _) in pstats.Stats(profiler).stats.items():  # type: ignore[attr-defined]
        for stage, place in STAGES.items():
            if (Path(file).name, function) == place and "data_mix" in file:
                found[stage] += cumulative
    return {stage: seconds / clock.wall for stage, seconds in found.items()}
