"""A rank of test_model.py: WEIGHTS TOKENIZER LARGE.

Prints the head that grew while it was sharded, and how far memory of its own rose while it loaded the large model.
"""

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from transformers import AutoTokenizer

from ecot.run_paths import RunPaths
from ecot.train.arguments import trainer_arguments
from ecot.train.config import ModelConfig, TrainConfig
from ecot.train.distributed import use_gloo_alone
from ecot.train.model import build_model


def own_bytes() -> int:
    """Memory of this process that no file stands behind."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith(("RssAnon", "RssShmem")))


def rise(action: Callable[[], object]) -> int:
    """Bytes by which memory rose at most, looked at every millisecond."""
    before, done, seen = own_bytes(), threading.Event(), []

    def watch() -> None:
        while not done.wait(0.001):
            seen.append(own_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    result = action()
    done.set()
    watcher.join()
    assert result is not None
    return max(*seen, own_bytes()) - before


def main(small: str, tokenizer_path: str, large: str) -> None:
    use_gloo_alone()
    import deepspeed

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_path)
    config = ModelConfig(path=small, dtype="float32")
    arguments = trainer_arguments(TrainConfig(), config, RunPaths(Path(small).parent / "run"), 0, 1)
    grown = build_model(config, tokenizer, 0)
    head = grown.get_output_embeddings().weight
    with deepspeed.zero.GatheredParameters([head]):
        values = head.detach().tolist()
    assert arguments.deepspeed
    risen = rise(lambda: build_model(ModelConfig(path=large, dtype="float32"), tokenizer, 0))
    print(json.dumps({"rows": grown.config.vocab_size, "head": values, "risen": risen}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
