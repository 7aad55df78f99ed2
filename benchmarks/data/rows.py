"""Multi-turn rows to convert, and a tokenizer with a template that every contender takes."""

from __future__ import annotations

import json
import random
from pathlib import Path

WORDS = ["assign", "logic", "always_ff", "posedge", "clk", "reset", "counter", "width", "valid", "ready", "<=", "begin"]
WORDS += ["end", "if", "else", "case", "state", "next", "shift", "data", "carry", "[7:0]", "8'hff", "==", "mismatch"]
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
    """Rows of 2 to 4 assistant turns with thinking, a tool's answer after each, of about `tokens` tokens in all."""
    rng = random.Random(1)
    lines = [
        " ".join(
            f"{rng.choice(WORDS)}_{rng.randrange(500)}" if rng.random() < 0.2 else rng.choice(WORDS) for _ in range(10)
        )
        for _ in range(20_000)
    ]

    def text(words: int) -> str:
        return "\n".join(rng.choices(lines, k=max(1, words // 10)))

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
    """Train on the first rows and save with the template, which marks assistants' tokens as TRL wants it."""
    from ecot.data_mix.config import TrainTokenizerConfig
    from ecot.data_mix.tokenizer import train_tokenizer

    texts = []
    with rows.open(encoding="utf-8") as handle:
        for _, line in zip(range(200), handle, strict=False):
            texts += [message["content"] for message in json.loads(line)["messages"]]
    tokenizer = train_tokenizer(texts, TrainTokenizerConfig(vocab_size=vocab_size))
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
