"""Code in answers: what is formatted comes out again, and what a model may write is found or refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecot.answers import extract_code, format_answer


def test_an_answer_is_one_fenced_block():
    assert format_answer("module m;\nendmodule\n", "systemverilog") == ("```systemverilog\nmodule m;\nendmodule\n```")


@given(st.text(alphabet="ab `~\n\t{}\u2028\x0c", max_size=80))
def test_extraction_inverts_formatting_up_to_blank_lines_at_the_ends(code):
    extracted = extract_code(format_answer(code, "systemverilog"), "systemverilog")
    if not code.strip():
        assert extracted is None
    else:
        assert extracted == code.strip("\n") + "\n"


def test_the_last_block_of_the_language_counts():
    content = "First:\n```verilog\na\n```\nbetter:\n```SV\nb\n```\nrun it with\n```sh\nmake\n```"
    assert extract_code(content, "systemverilog") == "b\n"


def test_without_a_block_of_the_language_the_last_of_any_counts():
    assert extract_code("```\none\n```\n~~~text\ntwo\n~~~", "systemverilog") == "two\n"


def test_a_block_may_hold_shorter_fences():
    assert extract_code("````md\n```c\nx\n```\n````", "c") == "```c\nx\n```\n"


@pytest.mark.parametrize(
    "content",
    ["", "module m; endmodule", "```systemverilog\nmodule m;", "```systemverilog\n\n```", "use `assign`"],
)
def test_no_code_is_found_in(content):
    assert extract_code(content, "systemverilog") is None
