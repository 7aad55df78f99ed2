"""Thinking and answer, however a server tells them apart."""

import pytest

from ecot.synthesis.endpoint.completion import MalformedCompletionError, read_completion, split_thinking
from ecot.synthesis.loop import Generated


def body(message, **choice):
    return {"choices": [{"message": message, **choice}], "usage": {"prompt_tokens": 7, "completion_tokens": 5}}


@pytest.mark.parametrize(
    ("message", "thinking", "answer"),
    [
        ({"content": "a", "reasoning_content": "t"}, "t", "a"),
        ({"content": "a", "reasoning": "t"}, "t", "a"),
        ({"content": "a", "reasoning_content": None, "reasoning": "t"}, "t", "a"),
        ({"content": "<think>\nt\n</think>\n\na", "reasoning_content": None}, "t", "a"),
        ({"content": None, "reasoning_content": "cut in the middle of"}, "cut in the middle of", ""),
        ({"content": None, "tool_calls": []}, "", ""),
        ({}, "", ""),
        ({"content": [{"type": "text", "text": "<think>t</think>"}, {"type": "text", "text": "a"}]}, "t", "a"),
        ({"content": "</think>\na", "reasoning_content": "t"}, "t", "\na"),
        ({"content": "<think>t</think>a</think>\n```py\n'</think>'\n```"}, "t", "a\n```py\n'</think>'\n```"),
        ({"content": "half a pair \ud83d"}, "", "half a pair ?"),
    ],
)
def test_thinking_is_found_wherever_it_stands(message, thinking, answer):
    assert read_completion(body(message)).generated == Generated(thinking, answer)


@pytest.mark.parametrize(
    ("content", "opened", "thinking", "answer"),
    [
        ("<think>t</think>a", False, "t", "a"),
        ("  <think>\nt\n</think>\na </think> b", False, "t", "a </think> b"),
        ("t\n</think>\n\na", False, "t", "a"),
        ("t\n</think>\n\na", True, "t", "a"),
        ("<think>t, and then it was cut", False, "t, and then it was cut", ""),
        ("t, and then it was cut", True, "t, and then it was cut", ""),
        ("an answer without a thought", False, "", "an answer without a thought"),
        ("<think></think>a", False, "", "a"),
        ("", True, "", ""),
        ("an answer that says <think> in passing", False, "", "an answer that says <think> in passing"),
    ],
)
def test_tags_may_be_missing(content, opened, thinking, answer):
    assert split_thinking(content, opened) == Generated(thinking, answer)


def test_what_the_server_says_of_a_completion_is_kept():
    whole = read_completion(body({"content": "a"}, finish_reason="length"), retries=2)
    assert (whole.truncated, whole.finish_reason, whole.retries) == (True, "length", 2)
    assert (whole.prompt_tokens, whole.completion_tokens) == (7, 5)
    silent = read_completion({"choices": [{"message": {"content": "a"}, "finish_reason": None}], "usage": None})
    assert (silent.truncated, silent.finish_reason, silent.prompt_tokens) == (False, "", 0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "no 'choices'"),
        ([], "no 'choices'"),
        ({"choices": []}, "no 'choices'"),
        ({"choices": [{"text": "an older protocol"}]}, "no 'message'"),
        ({"choices": [{"message": {"content": 3}}]}, "'content' in the server's answer is no text"),
    ],
)
def test_what_is_no_completion_is_refused(given, message):
    with pytest.raises(MalformedCompletionError, match=message):
        read_completion(given)
