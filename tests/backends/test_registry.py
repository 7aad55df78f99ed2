"""Backends by name."""

import pytest

from ecot.backends.cache import CachedBackend
from ecot.backends.registry import backend_names, make_attack, make_backend
from ecot.errors import ConfigError


def test_an_unknown_name_lists_the_known_ones(tmp_path):
    for make in (lambda: make_backend("modelsim"), lambda: make_attack("modelsim", tmp_path / "canary")):
        with pytest.raises(ConfigError, match="'modelsim' is unknown; known: icarus"):
            make()


def test_an_unknown_option_is_named(icarus):
    with pytest.raises(ConfigError, match=r"backend 'icarus'.*speed"):
        make_backend("icarus", speed=3)


def test_every_name_makes_a_backend_that_bears_it(icarus, tmp_path):
    for name in backend_names():
        assert make_backend(name).name == name
        cached = make_backend(name, cache=tmp_path / "cache.sqlite", workers=1)
        assert isinstance(cached, CachedBackend) and cached.name == name
