"""How ranks share packs and heads, and what is refused before anything heavy is built."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from ecot.cli.main import app
from ecot.cli.run_config import load_run_config
from ecot.errors import ConfigError
from ecot.train.config import LlamaShape, ModelConfig, TrainConfig
from ecot.train.layout import check_heads, check_model, find_layout

CONFIGS = Path(__file__).parents[2] / "configs"


def test_neighbours_share_packs():
    layout = find_layout(16, 4, 8, 1024)
    assert (layout.data_ranks, layout.accumulation) == (4, 2)
    places = [(layout.data_rank(rank), layout.sequence_rank(rank)) for rank in range(16)]
    assert places == [(data, sequence) for data in range(4) for sequence in range(4)]
    assert str(layout) == "8 packs a step = 4 data ranks x 2 accumulated, 4 sequence ranks each"
    assert not layout.crosses_nodes(8) and not layout.crosses_nodes(16)
    assert layout.crosses_nodes(6) and layout.crosses_nodes(2)
    assert not find_layout(2, 2, 4, 1024).crosses_nodes(3), "one node"


def test_ranks_that_do_not_divide_are_refused_with_what_would():
    with pytest.raises(
        ConfigError, match=r"6 ranks do not divide .* train\.sequence_ranks: 4; set it to one of 1, 2, 3, 6"
    ):
        find_layout(6, 4, 8, 1024)
    with pytest.raises(ConfigError) as refused:
        find_layout(12, 2, 8, 1024)
    text = str(refused.value)
    assert "8 packs a step do not divide by 6 data ranks" in text and "use 2, 4, 8, 16 ranks" in text
    assert "a multiple of 6,144" in text and text.endswith("or train.sequence_ranks: 3")
    find_layout(12, 3, 8, 1024)  # as told


@pytest.mark.parametrize(
    ("heads", "kv_heads", "allowed"),
    [(40, 8, {1, 2, 4, 8, 40}), (4, 1, {1, 2, 4}), (6, 6, {1, 2, 3, 6}), (12, 8, {1, 2, 4})],
)
def test_heads_are_owned_or_shared_by_whole_ranks(heads, kv_heads, allowed):
    """A rank's query heads must find their own key and value heads on it, and no rank may have more than another."""
    for ranks in range(1, heads + 2):
        if ranks in allowed:
            check_heads(heads, kv_heads, ranks)
        else:
            with pytest.raises(ConfigError, match=f"allowed for this model: {', '.join(map(str, sorted(allowed)))}$"):
                check_heads(heads, kv_heads, ranks)


def test_an_attention_that_knows_no_ranks_is_refused():
    shape = LlamaShape(num_heads=4, num_kv_heads=2)
    check_model(ModelConfig(shape=shape, attention="ecot_varlen_sdpa"), 2)
    check_model(ModelConfig(shape=shape, attention="sdpa"), 1)
    with pytest.raises(ConfigError, match=r"use ecot_varlen, or train\.sequence_ranks: 1"):
        check_model(ModelConfig(shape=shape, attention="sdpa"), 2)


def test_a_configuration_that_cannot_be_shared_does_not_load():
    with pytest.raises(ConfigError, match=r"sequence_ranks: 16 cannot share 40 query and 8 key and value heads"):
        load_run_config(CONFIGS / "sft_32b.yaml", ["train.sequence_ranks=16"])
    assert load_run_config(CONFIGS / "sft_32b.yaml", ["train.sequence_ranks=8"]).train.sequence_ranks == 8
    with pytest.raises(ValueError, match=r"layout: padded cannot be split over sequence_ranks: 2"):
        TrainConfig(layout="padded", sequence_ranks=2)


def test_ranks_are_refused_before_anything_is_tokenised(tmp_path):
    """There is not even a file to tokenise."""
    config = {
        "name": "refused",
        "run_dir": str(tmp_path / "run"),
        "data": {
            "sources": [{"path": str(tmp_path / "none.jsonl")}],
            "tokenizer": {"path": str(tmp_path / "none")},
            "budgets": [{"name": "a", "tokens": 4096}],
            "packing": {"pack_tokens": 512, "global_batch_tokens": 1024},
        },
        "model": {"shape": {}},
        "train": {"local_ranks": 3},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    refused = CliRunner().invoke(app, ["train", str(tmp_path / "run.yaml")])
    assert "2 packs a step do not divide by 3 data ranks" in str(refused.exception)
    shared = CliRunner().invoke(app, ["train", str(tmp_path / "run.yaml"), "train.sequence_ranks=2"])
    assert "3 ranks do not divide into groups of train.sequence_ranks: 2" in str(shared.exception)
