"""A rank of test_model.py: WEIGHTS TOKENIZER. Prints the head that grew while it was sharded."""

import json
import sys
from pathlib import Path

from transformers import AutoTokenizer

from ecot.run_paths import RunPaths
from ecot.train.arguments import trainer_arguments
from ecot.train.config import ModelConfig, TrainConfig
from ecot.train.distributed import use_gloo_alone
from ecot.train.model import build_model


def main(small: str, tokenizer_path: str) -> None:
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
    print(json.dumps({"rows": grown.config.vocab_size, "head": values}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
