"""What all domains' backends share: refusals before any tool, settings of tasks, fingerprints."""

import pytest

from ecot.backends.candidate_text import MAX_SOURCE_BYTES, screen_source
from ecot.backends.conformance import outcome
from ecot.backends.fingerprint import fingerprint_of
from ecot.backends.task_settings import validated
from ecot.config import Config
from ecot.errors import DataError


@pytest.mark.parametrize(
    ("code", "expected", "text"),
    [
        (" \n", "FORMAT_ERROR/no_code", "no code: the candidate is empty\n"),
        ("é" * (MAX_SOURCE_BYTES // 2 + 1), "RESOURCE_EXCEEDED", "a.c: error: 1048578 bytes of source; at most"),
        ("int a;\nint\0 b;\n", "COMPILATION_ERROR/syntax", "a.c:2: error: NUL character in the source\n"),
    ],
)
def test_what_no_tool_should_read_is_refused(code, expected, text):
    execution = screen_source(code, "a.c")
    assert outcome(execution) == expected and execution.diagnostics.startswith(text)


def test_what_a_tool_can_read_is_left_to_it():
    assert screen_source("é" * (MAX_SOURCE_BYTES // 2), "a.c") is None
    assert screen_source("int\0 a;", "a.py", nul="") is None


def test_a_wrong_value_names_place_key_and_what_is_allowed():
    class Limits(Config):
        seconds: int = 1
        mebibytes: int = 2

    assert validated(Limits, {"seconds": 3}, "task x: settings") == Limits(seconds=3)
    with pytest.raises(DataError, match=r"^task x: settings key 'second': .*; allowed keys: seconds, mebibytes$"):
        validated(Limits, {"second": 3}, "task x: settings")


def test_a_fingerprint_depends_on_parts_folders_and_kinds_of_files():
    cases = [(["a"], ["general"], [".py"]), (["b"], ["general"], [".py"]), (["a"], ["cad_3d"], [".py"])]
    cases += [(["a"], ["code_optimization"], [".py"]), (["a"], ["code_optimization"], [".py", ".c"])]
    assert len({fingerprint_of(*case) for case in cases}) == len(cases)
    assert fingerprint_of(*cases[0]) == fingerprint_of(*cases[0])
