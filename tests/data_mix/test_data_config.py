"""Combinations of settings that cannot work are refused with the knob and the remedy."""

import subprocess
import sys

import pytest

from ecot.config import validate_config
from ecot.data_mix.config import DataConfig
from ecot.errors import ConfigError

VALID = {
    "tokenizer": {"train": {"vocab_size": 1024}},
    "budgets": [{"name": "180K", "tokens": 180_000}, {"name": "360K", "tokens": 360_000}],
    "packing": {"pack_tokens": 4096, "global_batch_tokens": 16_384},
}


def test_a_short_section_is_enough():
    config = validate_config(DataConfig, VALID, "here")
    assert config.packing.packs_per_step == 4
    assert (config.template, config.observation_role, config.past_thinking) == ("shipped", "tool", "keep")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokenizer": {}}, "either tokenizer.path"),
        ({"tokenizer": {"path": "x", "train": {}}}, "not both"),
        ({"tokenizer": {"train": {"vocab_size": 100}}}, "512"),
        ({"template": "base"}, "set template: shipped, or give tokenizer.path"),
        ({"packing": {"pack_tokens": 4096, "global_batch_tokens": 10_000}}, "the nearest are 8192 and 12288"),
        ({"packing": {"pack_tokens": 4096, "global_batch_tokens": 2048}}, "must be a multiple"),
        ({"budgets": [{"name": "a", "tokens": 5}, {"name": "b", "tokens": 5}]}, "must ascend"),
        ({"budgets": [{"name": "a", "tokens": 5}, {"name": "a", "tokens": 6}]}, "names must differ"),
        ({"budgets": []}, "at least 1"),
        ({"budgets": [{"name": "a/b", "tokens": 5}]}, "budgets.0.name"),
        ({"past_thinking": "lose"}, "'keep', 'strip' or 'expand'"),
        ({"form": "folded"}, "set over_long: drop"),
        ({"form": "folded", "over_long": "split"}, "a thought is never cut; set over_long: drop"),
        ({"mixture": {"weights": {"general": 1}, "temperature": 2}}, "leave one of them out"),
        ({"mixture": {"weights": {"general": 0}}}, "one of them more than 0"),
        ({"mixture": {"max_tokens": {"general": 0}}}, "set the domain's weight to 0"),
        ({"form": "folded", "over_long": "drop", "past_thinking": "strip"}, "set keep"),
        ({"observation_role": "observation"}, "'user' or 'tool'"),
        ({"max_refused": 2}, "less than or equal to 1"),
        ({"filter": {}}, "did you mean 'filters'"),
        ({"packing": {"pack_token": 1, "global_batch_tokens": 2}}, "did you mean 'pack_tokens'"),
        ({"sources": [{"path": "x", "domains": ["poetry"]}]}, "chip_design"),
    ],
)
def test_bad_sections_are_refused(changes, message):
    with pytest.raises(ConfigError) as error:
        validate_config(DataConfig, {**VALID, **changes}, "here")
    assert message in str(error.value)


def test_every_field_is_documented():
    def sections(model):
        yield model
        for field in model.model_fields.values():
            for kind in (field.annotation, *getattr(field.annotation, "__args__", ())):
                if isinstance(kind, type) and issubclass(kind, DataConfig.__mro__[1]):
                    yield from sections(kind)

    for model in sections(DataConfig):
        for name, field in model.model_fields.items():
            described = field.description or getattr(field.annotation, "__doc__", None)
            assert described, f"{model.__name__}.{name}"


def test_nothing_heavy_is_imported_to_read_a_configuration():
    heavy = {"torch", "transformers", "pyarrow", "numpy"}
    code = f"import sys, ecot.data_mix.config, ecot.data_mix.loss_rules; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
