"""From JSONL to packs: tokens per second of this package, of TRL and of the floor, on the same rows and machine.

The floor renders the chat template and calls `tokenizers`' `encode_batch`, nothing else: no masks, no checks, no store,
no packs. Every contender runs in a process of its own, in turn, several times; the best time of each counts, and CPU
seconds stand beside it for machines that are shared.

    python benchmarks/data/throughput.py --rows 2000 --tokens 4000 --workers 2
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS = ["assign", "logic", "always_ff", "posedge", "clk", "reset", "counter", "width", "valid", "ready", "<=", "begin"]
WORDS += ["end", "if", "else", "case", "state", "next", "shift", "data", "carry", "[7:0]", "8'hff", "==", "mismatch"]
PACK = 16_384
TEMPLATE = """{%- for message in messages -%}
{{- "<|im_start|>" + message.role + "\n" -}}
{%- if message.role == "assistant" -%}
{% generation %}
{%- if message.reasoning_content -%}{{- "<think>\n" + message.reasoning_content + "\n</think>\n\n" -}}{%- endif -%}
{{- message.content + "<|im_end|>" -}}{% endgeneration %}{{ "\n" }}
{%- else -%}{{- message.content + "<|im_end|>\n" -}}{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{- "<|im_start|>assistant\n" -}}{%- endif -%}"""


def write_rows(path: Path, rows: int, tokens: int) -> None:
    """Multi-turn rows of about `tokens` tokens, made of words and identifiers that no vocabulary holds whole."""
    rng = random.Random(1)

    def text(count: int) -> str:
        words = [
            f"{rng.choice(WORDS)}_{rng.randrange(500)}" if rng.random() < 0.2 else rng.choice(WORDS)
            for _ in range(count)
        ]
        return " ".join(word + ("\n" if rng.random() < 0.1 else "") for word in words)

    with path.open("w", encoding="utf-8") as handle:
        for number in range(rows):
            turns = rng.randint(2, 4)
            size = int(tokens * rng.uniform(0.5, 1.5) / turns / 2.6)
            messages = [{"role": "system", "content": "You write RTL."}, {"role": "user", "content": text(60)}]
            for _ in range(turns):
                thought, answer = text(int(size * 0.7)), text(int(size * 0.3))
                messages.append({"role": "assistant", "content": answer, "reasoning_content": thought})
                messages.append({"role": "tool", "content": text(10)})
            handle.write(json.dumps({"id": str(number), "messages": messages[:-1], "domain": "chip_design"}) + "\n")


def make_tokenizer(rows: Path, folder: Path, vocab_size: int) -> None:
    """Train on the first rows and save with the template that TRL needs."""
    from ecot.data_mix.config import TrainTokenizerConfig
    from ecot.data_mix.tokenizer import train_tokenizer

    texts = []
    with rows.open(encoding="utf-8") as handle:
        for line in list(handle)[:200]:
            texts += [message["content"] for message in json.loads(line)["messages"]]
    tokenizer = train_tokenizer(texts, TrainTokenizerConfig(vocab_size=vocab_size))
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)


def run_floor(folder: Path, _workers: int) -> int:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder / "tok")
    begin_clock()
    total, texts = 0, []
    with (folder / "rows.jsonl").open(encoding="utf-8") as handle:
        for line in handle:
            texts.append(tokenizer.apply_chat_template(json.loads(line)["messages"], tokenize=False))
            if len(texts) == 256:
                total += sum(
                    len(e.ids) for e in tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False)
                )
                texts = []
    return total + sum(len(e.ids) for e in tokenizer.backend_tokenizer.encode_batch(texts, add_special_tokens=False))


def run_ecot(folder: Path, workers: int) -> int:
    from ecot.data_mix.config import DataConfig, SourceConfig
    from ecot.data_mix.plan_builder import build_plan
    from ecot.data_mix.store_builder import StoreBuilder
    from ecot.progress import no_progress

    config = DataConfig.model_validate(
        {
            "tokenizer": {"path": str(folder / "tok")},
            "template": "base",
            "workers": workers,
            "budgets": [{"name": "all", "tokens": 1}],
            "packing": {"pack_tokens": PACK, "global_batch_tokens": 8 * PACK},
        }
    )
    begin_clock()
    with tempfile.TemporaryDirectory(dir=folder) as out:
        source = SourceConfig(path=folder / "rows.jsonl")
        store = StoreBuilder(config, [source], folder / "tok", Path(out) / "store").build(no_progress)
        budget = {"name": "all", "tokens": int(store.lengths.sum())}
        build_plan(
            config.model_copy(
                update={"budgets": DataConfig.model_validate({**config.model_dump(), "budgets": [budget]}).budgets}
            ),
            store,
            1,
            Path(out) / "plan",
        )
        return int(store.lengths.sum())


def run_trl(folder: Path, workers: int) -> int:
    import datasets
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM
    from trl import SFTConfig, SFTTrainer

    datasets.disable_caching()
    tokenizer = AutoTokenizer.from_pretrained(folder / "tok")
    shape = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), **shape))
    rows = datasets.load_dataset(
        "json", data_files=str(folder / "rows.jsonl"), split="train", cache_dir=str(folder / "c")
    )
    arguments = SFTConfig(
        output_dir=str(folder / "out"),
        assistant_only_loss=True,
        packing=True,
        max_length=PACK,
        dataset_num_proc=workers or None,
        use_cpu=True,
        bf16=False,
        report_to=[],
    )
    begin_clock()
    trainer = SFTTrainer(model, arguments, train_dataset=rows.select_columns(["messages"]), processing_class=tokenizer)
    return sum(len(row["input_ids"]) for row in trainer.train_dataset)


CONTENDERS = {"floor": run_floor, "ecot": run_ecot, "trl": run_trl}
_began: list[float] = []


def begin_clock() -> None:
    """Imports and loading of the tokenizer do not count."""
    _began[:] = [time.perf_counter(), cpu_seconds()]


def cpu_seconds() -> float:
    """Of this process and of those that it started and waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(entry.ru_utime + entry.ru_stime for entry in used)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--tokens", type=int, default=4000)
    parser.add_argument("--vocab", type=int, default=8192)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--contenders", default="floor,ecot,trl")
    parser.add_argument("--one", nargs=2, metavar=("NAME", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        tokens = CONTENDERS[options.one[0]](Path(options.one[1]), options.workers)
        wall, cpu = time.perf_counter() - _began[0], cpu_seconds() - _began[1]
        peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
        print(json.dumps({"tokens": tokens, "wall": wall, "cpu": cpu, "peak_mb": peak}))
        return
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "rows.jsonl", options.rows, options.tokens)
        make_tokenizer(folder / "rows.jsonl", folder / "tok", options.vocab)
        best: dict[str, dict[str, float]] = {}
        for _ in range(options.repeats):
            for contender in options.contenders.split(","):
                command = [sys.executable, __file__, "--one", contender, name, "--workers", str(options.workers)]
                done = subprocess.run(command, capture_output=True, text=True, env=os.environ)
                if done.returncode:
                    sys.exit(done.stderr[-2000:])
                result = json.loads(done.stdout.splitlines()[-1])
                if contender not in best or result["wall"] < best[contender]["wall"]:
                    best[contender] = result
        print(f"{'':8}{'tokens':>12}{'wall s':>9}{'cpu s':>9}{'tokens/s':>11}{'tok/cpu-s':>11}{'peak MB':>9}")
        for contender, r in best.items():
            print(
                f"{contender:8}{r['tokens']:12,}{r['wall']:9.2f}{r['cpu']:9.2f}{r['tokens'] / r['wall']:11,.0f}"
                f"{r['tokens'] / r['cpu']:11,.0f}{r['peak_mb']:9.0f}"
            )


if __name__ == "__main__":
    main()
