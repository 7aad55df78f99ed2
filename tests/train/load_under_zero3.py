"""A rank of test_model.py: LARGE SMALL TOKENIZER. Prints what it held while it loaded, and the head that grew."""

import json
import sys
import threading
import time
from pathlib import Path

from transformers import AutoTokenizer

from ecot.run_paths import RunPaths
from ecot.train.arguments import trainer_arguments
from ecot.train.config import ModelConfig, TrainConfig
from ecot.train.distributed import use_gloo_alone
from ecot.train.model import build_model


def own_bytes() -> int:
    """Anonymous memory of this process."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return int(line.split()[1]) * 1024


class Peak(threading.Thread):
    """Looks every millisecond."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.bytes = 0

    def run(self) -> None:
        while True:
            self.bytes = max(self.bytes, own_bytes())
            time.sleep(0.001)


def main(large: str, small: str, tokenizer_path: str) -> None:
    use_gloo_alone()
    import deepspeed

    tokenizer = AutoTokenizer.from_pretrained(tokenizer_path)
    config = ModelConfig(path=small, dtype="float32")
    arguments = trainer_arguments(TrainConfig(), config, RunPaths(Path(large).parent / "run"), 0, 1)
    grown = build_model(config, tokenizer, 0)  # first, so that what libraries allocate once is there
    head = grown.get_output_embeddings().weight
    with deepspeed.zero.GatheredParameters([head]):
        values = head.detach().tolist()
    before = own_bytes()
    peak = Peak()
    peak.start()
    model = build_model(ModelConfig(path=large, dtype="float32"), tokenizer, 0)
    result = {"kept": own_bytes() - before, "peak": peak.bytes - before, "rows": grown.config.vocab_size}
    assert arguments.deepspeed and model is not None
    print(json.dumps({**result, "head": values}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
