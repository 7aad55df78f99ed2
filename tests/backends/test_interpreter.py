"""The sandbox shows this Python, wherever it lies."""

import os
from pathlib import Path

from ecot.backends.sandbox.bubblewrap import find_launcher
from ecot.backends.sandbox.interpreter import python_folders, reaching


def test_the_interpreters_folders_hold_its_library_and_its_packages():
    folders = python_folders()
    for module in (os, __import__("pydantic")):
        place = Path(module.__file__).resolve()
        assert any(folder in place.parents for folder in (*folders, Path("/usr")))


def test_a_path_that_all_may_enter_needs_nothing(sandbox):
    launcher = find_launcher()
    assert reaching(launcher, [Path("/usr/lib")]) is launcher


def test_a_closed_folder_is_passed_and_not_opened(sandbox, tmp_path, monkeypatch):
    launcher = find_launcher()
    closed = tmp_path / "closed"
    (closed / "python").mkdir(parents=True)
    closed.chmod(0o700)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    prefix = reaching(launcher, [closed / "python"]).prefix
    if not launcher.unprivileged:
        assert prefix == launcher.prefix
        return
    script = prefix[5]
    assert prefix[6:][1:] == launcher.prefix and script.endswith('&& exec "$@"')
    assert f"mount --rbind /mnt/0 {closed}/python" in script
    assert oct(closed.stat().st_mode & 0o777) == "0o700"
