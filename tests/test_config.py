import pytest

from ecot.config import Config, load_config
from ecot.errors import ConfigError


class Inner(Config):
    learning_rate: float = 1e-5
    """Peak."""
    steps: int = 3
    """Number."""


class Outer(Config):
    train: Inner = Inner()
    """Section."""
    other: Inner | None = None
    """Optional section."""
    name: str
    """Name."""


def write(tmp_path, text):
    path = tmp_path / "run.yaml"
    path.write_text(text)
    return path


def test_overrides_reach_into_sections(tmp_path):
    path = write(tmp_path, "name: a\n")
    config = load_config(Outer, path, ["train.steps=7", "other.learning_rate=1.0e-3", "name=b"])
    assert (config.train.steps, config.other.learning_rate, config.name) == (7, 1e-3, "b")


@pytest.mark.parametrize(
    ("text", "overrides", "words"),
    [
        (
            "name: a\ntrain: {learning_rat: 1}\n",
            [],
            ["unknown key 'train.learning_rat'", "did you mean 'learning_rate'"],
        ),
        ("name: a\nother: {stepz: 1}\n", [], ["unknown key 'other.stepz'", "did you mean 'steps'"]),
        ("train: {}\n", [], ["key 'name'", "required"]),
        ("name: a\ntrain: {steps: many}\n", [], ["key 'train.steps'", "'many'"]),
        ("name: [\n", [], ["not valid YAML"]),
        ("- a\n", [], ["must hold a mapping"]),
        ("name: a\n", ["train.steps"], ["must look like section.key=value"]),
        ("name: a\n", ["name.x=1"], ["name is a value, not a section"]),
    ],
)
def test_a_wrong_config_names_file_key_and_remedy(tmp_path, text, overrides, words):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_config(Outer, path, overrides)
    for word in words:
        assert word in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match="no such configuration file"):
        load_config(Outer, tmp_path / "none.yaml")
