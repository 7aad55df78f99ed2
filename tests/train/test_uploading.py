import sys

import pytest

from ecot.errors import ConfigError
from ecot.train.json_rows import read_json_rows
from ecot.train.uploading import UPLOADS, Uploader, upload_command


@pytest.fixture
def checkpoint(tmp_path):
    def make(name):
        folder = tmp_path / "run" / "checkpoints" / name
        folder.mkdir(parents=True)
        (folder / "weights").write_text(name)
        return folder

    return make


def test_checkpoints_are_copied_in_the_background_and_written_down(tmp_path, checkpoint):
    remote = tmp_path / "far away"
    remote.mkdir()
    uploader = Uploader(f"cp -r {{path}} '{remote}/{{name}}-copy'", tmp_path / "run")
    for name in ("checkpoint-2", "checkpoint-4"):
        uploader.add(checkpoint(name))
    uploader.finish()
    assert (remote / "checkpoint-4-copy" / "weights").read_text() == "checkpoint-4"
    assert uploader.pending == []
    expected = [{"path": f"checkpoints/{name}", "ok": True} for name in ("checkpoint-2", "checkpoint-4")]
    assert read_json_rows(tmp_path / "run" / UPLOADS) == expected


def test_a_failure_is_told_and_the_next_start_tries_again(tmp_path, checkpoint, caplog):
    first, second = checkpoint("checkpoint-2"), checkpoint("checkpoint-4")
    uploader = Uploader(f"cp {{path}}/weights {tmp_path}/remote/", tmp_path / "run")  # the folder is not there
    uploader.add(first)
    uploader.finish()
    assert "the upload of" in caplog.text and "checkpoint-2 failed (exit status 1: cp:" in caplog.text
    (tmp_path / "remote").mkdir()
    again = Uploader(f"cp {{path}}/weights {tmp_path}/remote/", tmp_path / "run")
    again.add_missed([first, second])
    again.finish()
    third = Uploader("no-such-program {path}", tmp_path / "run")
    third.add_missed([first, second])
    third.finish()
    rows = read_json_rows(tmp_path / "run" / UPLOADS)
    assert [(row["path"][-1], row["ok"]) for row in rows] == [("2", False), ("2", True), ("4", True)]


def test_a_checkpoint_waits_until_its_upload_ends_and_a_preempted_run_does_not(tmp_path, checkpoint):
    path = checkpoint("checkpoint-2")
    uploader = Uploader(f"{sys.executable} -c 'import time; time.sleep(600)' {{path}}", tmp_path / "run")
    uploader.add(path)
    assert uploader.pending == [path]
    uploader.abandon()
    assert uploader.pending == []
    assert read_json_rows(tmp_path / "run" / UPLOADS) == [], "it is missed, neither done nor failed"


def test_a_python_function_may_upload(tmp_path, checkpoint, monkeypatch):
    (tmp_path / "mine.py").write_text("def send(path):\n    (path.parent / 'sent').write_text(path.name)\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    path = checkpoint("checkpoint-2")
    uploader = Uploader("python:mine:send", tmp_path / "run")
    uploader.add(path)
    uploader.finish()
    assert (path.parent / "sent").read_text() == "checkpoint-2"


@pytest.mark.parametrize(
    ("template", "words"), [("rclone copy here", r"must contain \{path\}"), ("python:mine", "python:module:function")]
)
def test_a_template_without_a_path_or_function_is_refused(tmp_path, template, words):
    with pytest.raises(ConfigError, match=words):
        upload_command(template, tmp_path)
