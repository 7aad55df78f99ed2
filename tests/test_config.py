from typing import Annotated, Literal

import pytest
from pydantic import Field

from ecot.config import Config, load_config, validate_config
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


def test_a_file_begins_from_those_that_it_includes(tmp_path):
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a.yaml").write_text("train: {steps: 5, learning_rate: 1.0}\nother: {steps: 8}\n")
    (tmp_path / "parts" / "b.yaml").write_text("include: [a.yaml]\ntrain: {steps: 6}\n")
    path = write(tmp_path, "include: [parts/b.yaml]\nname: a\ntrain: {learning_rate: 2.0}\n")
    config = load_config(Outer, path, ["other.steps=9"])
    assert (config.train.steps, config.train.learning_rate, config.other.steps) == (6, 2.0, 9)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("include: [none.yaml]\nname: a\n", ["none.yaml: no such", "included by", "run.yaml"]),
        ("include: [run.yaml]\nname: a\n", ["includes itself"]),
        ("include: part.yaml\nname: a\n", ["'include' must be a list"]),
    ],
)
def test_a_wrong_include_is_named(tmp_path, text, words):
    with pytest.raises(ConfigError) as caught:
        load_config(Outer, write(tmp_path, text))
    for word in words:
        assert word in str(caught.value)


def test_sections_told_apart_by_their_type_and_lists_of_sections_name_the_key_as_it_is_written():
    class Plain(Config):
        type: Literal["plain"] = "plain"

    class Served(Config):
        type: Literal["served"]
        address: str

    class Run(Config):
        writer: Annotated[Plain | Served, Field(discriminator="type")] = Plain()
        writers: tuple[Served, ...] = ()

    def refusal(values):
        with pytest.raises(ConfigError) as caught:
            validate_config(Run, values, "run.yaml")
        return str(caught.value)

    served = {"type": "served", "address": "a"}
    assert (
        refusal({"writer": {**served, "adress": 1}}) == "run.yaml: unknown key 'writer.adress'; did you mean 'address'?"
    )
    assert refusal({"writer": {"type": "served"}}) == "run.yaml: key 'writer.address': Field required"
    assert refusal({"writer": {**served, "address": 3}}).startswith("run.yaml: key 'writer.address': Input should be")
    assert "unknown key 'writers.1.adres'; did you mean 'address'?" in refusal(
        {"writers": [served, {**served, "adres": 1}]}
    )
