"""Backends by name."""

import re

import pytest

from ecot.backends.cache import CachedBackend
from ecot.backends.registry import backend_names, make_attack, make_backend
from ecot.errors import ConfigError


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    for make in (lambda: make_backend("modelsim"), lambda: make_attack("modelsim", tmp_path / "canary")):
        with pytest.raises(ConfigError, match=r"'modelsim' is unknown; known: .*icarus"):
            make()


def test_an_unknown_option_is_named(icarus):
    with pytest.raises(ConfigError, match=r"backend 'icarus'.*speed"):
        make_backend("icarus", speed=3)


@pytest.mark.parametrize(
    "options",
    [
        {"workers": -1},
        {"workers": 0},
        {"workers": 2.5},
        {"workers": "2"},
        {"workers": True},
        {"secret": 5},
        {"secret": ""},
        {"cache": 5},
        {"name": "x"},
    ],
)
def test_a_value_that_an_option_cannot_take_is_named(options):
    ((key, value),) = options.items()
    with pytest.raises(ConfigError, match=rf"backend 'icarus': option '{key}': .*given: {re.escape(repr(value))}"):
        make_backend("icarus", **options)


def test_options_reach_the_backend(chip_design):
    assert make_backend("icarus", workers=None, secret="own").fingerprint != chip_design.fingerprint
    assert make_backend("icarus", workers=1).fingerprint == chip_design.fingerprint


def test_every_name_makes_a_backend_that_bears_it(icarus, tmp_path):
    for name in backend_names():
        assert make_backend(name).name == name
        cached = make_backend(name, cache=tmp_path / "cache.sqlite", workers=1)
        assert isinstance(cached, CachedBackend) and cached.name == name
