"""Exports of the finished run (tests/conftest.py) that several tests look at."""

import sys

import pytest

from ecot.train import export


@pytest.fixture(scope="session")
def sharded_export(finished, tmp_path_factory):
    """The last milestone in several small files: what was said of it, and its folder."""
    folder = tmp_path_factory.mktemp("sharded") / "c"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(export, "SHARD_BYTES", 40_000)
        return export.export_milestone(finished.paths, "c", folder, "float32", sys.executable), folder


@pytest.fixture(scope="session")
def first_export(finished, tmp_path_factory):
    """The first milestone as it is: what was said of it, and its folder."""
    folder = tmp_path_factory.mktemp("first") / "a"
    return export.export_milestone(finished.paths, "a", folder, "auto", sys.executable), folder
