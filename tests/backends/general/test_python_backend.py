"""The Python backend: labels, diagnostics, and what a candidate may learn or break."""

import asyncio
import re
from dataclasses import replace

import pytest

from ecot.backends.general import tool as tool_module
from ecot.backends.general.backend import PythonBackend
from ecot.backends.protocol import Backend
from ecot.errors import DataError, MissingToolError, ToolError
from ecot.outcomes import Domain, Label, Stage


def edited(task, old, new):
    assert old in task.reference
    return task.reference.replace(old, new)


def test_it_is_a_backend(python):
    assert isinstance(python, Backend)
    assert python.name == "python" and python.domains == {Domain.GENERAL}


def test_a_reference_passes_with_its_count(run_python, python, python_tasks):
    task = python_tasks["merge_windows"]
    execution = run_python(task, task.reference)
    assert (execution.label, execution.subcode, execution.stage) == (Label.PASS, "", Stage.CHECK)
    assert execution.metrics == {"calls": 44, "mismatches": 0}
    assert execution.diagnostics == "all 44 calls are right\n"
    assert execution.fingerprint == python.fingerprint


def test_the_first_wrong_call_is_shown(run_python, python_tasks):
    task = python_tasks["merge_windows"]
    execution = run_python(task, edited(task, "start <= merged", "start < merged"))
    assert (execution.label, execution.stage) == (Label.FUNCTIONAL_MISMATCH, Stage.CHECK)
    count, first = execution.diagnostics.splitlines()
    assert re.fullmatch(r"\d+ of 44 calls are wrong", count)
    # The second call is fixed, and its windows touch.
    assert first == (
        "call 1: merge_windows([(5, 5), (1, 5), (7, 7)]): expected [(1, 5), (7, 7)], got [(1, 5), (5, 5), (7, 7)]"
    )
    assert execution.metrics["first_mismatch"] == 1


@pytest.mark.parametrize(
    ("old", "new", "label", "subcode", "text"),
    [
        ("    merged = []\n", "    merged = [\n", "COMPILATION_ERROR", "syntax", "candidate.py:4: SyntaxError: "),
        ("def merge_windows", "def merge", "COMPILATION_ERROR", "link", "defines no function 'merge_windows'"),
        (
            "    merged = []\n",
            "    merged = 1 / 0\n",
            "RUNTIME_ERROR",
            "exception",
            "ZeroDivisionError: division by zero",
        ),
        ("    merged = []\n", "    assert not windows\n    merged = []\n", "RUNTIME_ERROR", "assertion", "call 1: "),
        ("return merged", "return {}", "FUNCTIONAL_MISMATCH", "", "expected [], got {}"),
        ("return merged", "return iter(merged)", "FUNCTIONAL_MISMATCH", "", "got an object of type list_iterator"),
        ("raise ValueError", "raise KeyError", "RUNTIME_ERROR", "exception", "KeyError: 'a window ends before"),
        ("        raise ValueError", "        return ValueError", "FUNCTIONAL_MISMATCH", "", "call 3: "),
    ],
)
def test_every_kind_of_failure_has_its_label(run_python, python_tasks, old, new, label, subcode, text):
    task = python_tasks["merge_windows"]
    execution = run_python(task, edited(task, old, new))
    assert (execution.label, execution.subcode) == (label, subcode)
    assert text in execution.diagnostics


def test_messages_hold_nothing_that_changes(run_python, python_tasks):
    task = python_tasks["merge_windows"]
    code = edited(task, "    merged = []\n", "    raise RuntimeError(object(), {'b', 'a', 'c', 'd'})\n")
    texts = {run_python(task, code).diagnostics for _ in range(3)}
    assert len(texts) == 1 and "0x..." in texts.pop()


def test_results_of_other_types_do_not_pass(run_python, python_tasks):
    """1 and True and 1.0 are equal to Python, and so are a list and its subclass; they are not the same answer."""
    task = python_tasks["hysteresis"]
    assert run_python(task, edited(task, "outputs.append(state)", "outputs.append(int(state))")).label is (
        Label.FUNCTIONAL_MISMATCH
    )
    lists = python_tasks["merge_windows"]
    code = "class Own(list):\n    pass\n\n\n" + edited(lists, "return merged", "return Own(merged)")
    assert "got an object of type Own" in run_python(lists, code).diagnostics


def test_tolerances_hold_for_floating_point_only(run_python, python_tasks):
    task = python_tasks["pressure_convert"]
    near = edited(
        task, "(absolute - target_zero) / target_factor", "(absolute - target_zero) / target_factor * (1 + 1e-12)"
    )
    far = edited(
        task, "(absolute - target_zero) / target_factor", "(absolute - target_zero) / target_factor * (1 + 1e-6)"
    )
    assert run_python(task, near).passed
    assert run_python(task, far).label is Label.FUNCTIONAL_MISMATCH


def test_two_candidates_get_different_arguments_and_the_same_ones_again(run_python, python_tasks):
    task = python_tasks["merge_windows"]
    wrong = edited(task, "max(merged[-1][1], end)", "0")
    texts = [run_python(task, wrong + comment).diagnostics for comment in ("", "# a\n", "# b\n", "# c\n", "")]
    assert texts[0] == texts[-1] and len(set(texts)) >= 3


def test_another_secret_gives_other_arguments_and_another_fingerprint(python, run_python, python_tasks):
    task = python_tasks["merge_windows"]
    other = PythonBackend(workers=1, secret="another")
    wrong = edited(task, "max(merged[-1][1], end)", "0")
    theirs = asyncio.run(other.execute(task, wrong))
    assert theirs.label is Label.FUNCTIONAL_MISMATCH and theirs.diagnostics != run_python(task, wrong).diagnostics
    assert python.fingerprint != other.fingerprint


def test_environment_files_can_be_imported(python, python_tasks):
    task = replace(
        python_tasks["merge_windows"],
        environment={"plant.py": "LIMIT = 3\n"},
        reference="import plant\n\n\ndef merge_windows(windows):\n    return len(windows) > plant.LIMIT\n",
    )
    assert asyncio.run(python.execute(task, task.reference)).passed


def test_a_broken_reference_is_an_error_of_the_harness(python, python_tasks):
    task = python_tasks["merge_windows"]
    broken = replace(task, reference="def merge_windows(windows):\n    return object()\n")
    with pytest.raises(ToolError, match=r"task merge_windows: reference and tests do not run.*object"):
        asyncio.run(python.execute(broken, task.reference))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"settings": {"run_second": 3}}, "task merge_windows: settings key 'run_second'"),
        ({"domain": Domain.EMBEDDED}, "task merge_windows: domain embedded cannot run on python"),
        ({"hidden": {}}, "either 'cases.py' or 'check.py' is needed"),
        ({"environment": {"job.json": ""}}, "'job.json' is a name of the harness"),
    ],
)
def test_a_malformed_task_is_refused(python, python_tasks, change, message):
    with pytest.raises(DataError, match=re.escape(message)):
        asyncio.run(python.execute(replace(python_tasks["merge_windows"], **change), "x = 1"))


def test_a_missing_interpreter_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(tool_module, "_PLACES", ("/no/such/python3",))
    with pytest.raises(MissingToolError, match="apt install python3"):
        tool_module.find_interpreter.__wrapped__()
