"""`python -m ecot.train.verify_export FOLDER PROBE`: reload an export as any user would and compare its logits.

It uses nothing but transformers: what passes here works without this package.
"""

from __future__ import annotations

import json
import sys

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer


def main(folder: str, probe_path: str) -> None:
    """Print one line of JSON with the largest difference from the probe's logits and the largest logit."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype="auto")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if tokenizer.chat_template is None:
        sys.exit(f"{folder} has no chat template")
    probe = load_file(probe_path)
    with torch.no_grad():
        logits = model.eval()(input_ids=probe["input_ids"], use_cache=False).logits.float()
    difference = (logits - probe["logits"]).abs().max().item()
    print(json.dumps({"max_logit_difference": difference, "max_logit": probe["logits"].abs().max().item()}))


if __name__ == "__main__":
    main(*sys.argv[1:])
