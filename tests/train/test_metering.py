from types import SimpleNamespace

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from ecot.data_mix.plan import Pack
from ecot.train.layout import RankLayout
from ecot.train.metering import CLOCK, Meter, Workload, peak_flops, workload_of
from ecot.train.preflight.shape import shape_from_weights
from ecot.train.preflight.speed import flops_per_token


@pytest.mark.parametrize("tied", [False, True])
def test_a_token_costs_what_preflight_says(tmp_path, tied):
    """Counted from the parameters that are there, against the formula over the shape in config.json."""
    config = LlamaConfig(
        vocab_size=96,
        hidden_size=32,
        intermediate_size=56,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=16,
        tie_word_embeddings=tied,
    )
    config.save_pretrained(tmp_path)
    workload = workload_of(LlamaForCausalLM(config), config)
    # documents of 10 and 30 tokens: on average a token's document has 25
    assert workload.flops(10**2 + 30**2, 40) / 40 == flops_per_token(shape_from_weights(tmp_path), 25.0)


class Plan:
    """Two steps of four packs of 100 tokens, with a document or none each; costs as given."""

    packs_per_step, pack_tokens = 4, 100
    costs = np.array([4.0, 2.0, 3.0, 3.0, 1.0, 1.0, 1.0, 0.0])

    def packs(self, step):
        return [Pack(step, slot, (4 * step + slot,) if step == 0 or slot < 3 else (), 0) for slot in range(4)]

    def tokens_until(self, step):
        return [0, 200, 350][step]


def test_figures_of_a_row():
    times = iter([0.0, 1.0, 4.0, 10.0, 10.5, 16.0])  # per step: begin, data, end
    store = SimpleNamespace(lengths=np.full(7, 50))
    meter = Meter(Plan(), store, RankLayout(2, 1, 4), peak=1000.0, clock=lambda: next(times))
    meter.workload = Workload(per_token=2.0, per_pair=0.01)
    for _ in range(2):
        meter.begin_step()
        meter.have_data()
        meter.finish_step()
    row = meter.drain(2, torch.device("cpu"))
    seconds = 4.0 + 6.0
    assert row["tokens_per_second"] == 35.0 and row["tokens_per_second_per_gpu"] == 17.5
    assert row["data_wait_share"] == pytest.approx(1.5 / seconds)
    assert row["mfu"] == pytest.approx((2.0 * 350 + 0.01 * 7 * 50**2) / seconds / 2000.0)
    assert row["padding_share"] == pytest.approx(1 - 350 / 800)
    # turns of two packs: (4, 2), (3, 3), (1, 1), (1, 0)
    assert row["planned_imbalance"] == pytest.approx((4 + 3 + 1 + 1) / (3 + 3 + 1 + 0.5))
    assert row["step_time_imbalance"] == 1.0
    assert row.keys() - CLOCK == {"planned_imbalance", "padding_share"}
    assert meter.drain(2, torch.device("cpu")) == {}


def test_the_peak_is_what_is_stated():
    assert peak_flops(5e14) == 5e14
