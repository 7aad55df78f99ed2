"""HumanEval's layout becomes bundles; all canonical solutions pass where the benchmark is at hand."""

import asyncio
import gzip
import json
from pathlib import Path

import pytest

from ecot.errors import DataError
from ecot.outcomes import Label
from ecot.tasks.importers import import_tasks
from ecot.tasks.registry import load_tasks

PUBLIC = Path(__file__).resolve().parents[3] / "shared" / "data" / "human_eval"

# Written for this test in the layout of HumanEval: a helper in the prompt that the check uses too, and unseeded chance.
ROW = {
    "task_id": "HumanEval/7",
    "prompt": 'def shift(text: str) -> str:\n    """Shifts every letter by one."""\n'
    '    return "".join(chr(ord(c) + 1) for c in text)\n\n\n'
    'def unshift(text: str) -> str:\n    """Undoes shift.\n    >>> unshift("bc")\n    \'ab\'\n    """\n',
    "entry_point": "unshift",
    "canonical_solution": '    return "".join(chr(ord(c) - 1) for c in text)\n',
    "test": "\n\nMETADATA = {}\n\n\ndef check(candidate):\n    import random\n    import string\n"
    "    for _ in range(20):\n        text = ''.join(random.choice(string.ascii_letters) for _ in range(8))\n"
    "        assert candidate(shift(text)) == text, 'round trip'\n    assert candidate('') == ''\n",
}


@pytest.fixture
def python(started):
    return started("python")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "HumanEval.jsonl.gz").write_bytes(gzip.compress(json.dumps(ROW).encode() + b"\n"))
    return tmp_path / "data"


def test_a_task_becomes_a_bundle_that_cannot_be_deceived(python, folder, tmp_path):
    assert import_tasks("human_eval", folder, tmp_path / "out") == ["humaneval_007"]
    task = load_tasks(str(tmp_path / "out"))["humaneval_007"]
    assert task.entry == "unshift" and task.reference == ROW["prompt"] + ROW["canonical_solution"]
    assert ROW["prompt"].strip() in task.spec and "round trip" not in task.spec

    def outcome(code):
        execution = asyncio.run(python.execute(task, code))
        return execution.label, execution.subcode, execution.diagnostics

    assert outcome(task.reference) == (Label.PASS, "", "all checks of 21 calls hold\n")
    label, _, text = outcome(task.reference.replace("- 1", "+ 1"))
    assert label is Label.FUNCTIONAL_MISMATCH
    assert text.startswith("a check fails after call 0: unshift('") and text.endswith("': round trip\n")
    equal = "class Equal(str):\n    def __eq__(self, other):\n        return True\n"
    assert outcome(f"{equal}\n\ndef unshift(text):\n    return Equal()\n")[0] is Label.FUNCTIONAL_MISMATCH
    leaving = "import sys\n\n\ndef unshift(text):\n    sys.exit(0)\n"
    assert outcome(leaving)[:2] == (Label.PROTOCOL_VIOLATION, "early_finish")
    assert outcome("def unshift(text):\n    raise KeyError(text)\n")[:2] == (Label.RUNTIME_ERROR, "exception")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"HumanEval\.jsonl:1: not JSON"),
        (json.dumps({**ROW, "test": 5}), r"HumanEval\.jsonl:1: key 'test' is missing or no text"),
        ("[]", r"HumanEval\.jsonl:1: key 'task_id'"),
    ],
)
def test_a_malformed_row_is_named(tmp_path, line, message):
    (tmp_path / "HumanEval.jsonl").write_text(line)
    with pytest.raises(DataError, match=message):
        import_tasks("human_eval", tmp_path, tmp_path / "out")


def test_a_broken_archive_is_named(tmp_path):
    (tmp_path / "HumanEval.jsonl.gz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"HumanEval\.jsonl\.gz: not a gzip file"):
        import_tasks("human_eval", tmp_path, tmp_path / "out")


def failures(python, out, step):
    ids = import_tasks("human_eval", PUBLIC, out)
    tasks = load_tasks(str(out))
    assert len(ids) >= 82 and list(tasks) == sorted(ids)
    chosen = list(tasks.values())[::step]
    results = asyncio.run(python.execute_many([(task, task.reference) for task in chosen]))
    return [task.id for task, result in zip(chosen, results, strict=True) if not result.passed]


@pytest.mark.skipif(not PUBLIC.is_dir(), reason="the public benchmark is not at hand")
def test_canonical_solutions_pass(python, tmp_path):
    assert failures(python, tmp_path / "out", 5) == []


@pytest.mark.drill
@pytest.mark.skipif(not PUBLIC.is_dir(), reason="the public benchmark is not at hand")
def test_every_canonical_solution_passes(python, tmp_path):
    assert failures(python, tmp_path / "out", 1) == []
