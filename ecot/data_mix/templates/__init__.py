"""The shipped chat template."""

from __future__ import annotations

from importlib.resources import files

from ecot.data_mix.config import ObservationRole, PastThinking

IM_START = "<|im_start|>"
IM_END = "<|im_end|>"
END_OF_TEXT = "<|endoftext|>"
THINK = "<think>"
END_THINK = "</think>"

_ROLE_LINE = '{%- set observation_role = "tool" -%}'
_KEEP_LINE = "{%- set keep_past_thinking = true -%}"


def shipped_template(observation_role: ObservationRole, past_thinking: PastThinking) -> str:
    """The Jinja source of the shipped ChatML template with the run's choices written in.

    With `past_thinking: keep` it renders the thinking of every turn, otherwise only that of a last message.
    """
    source = files("ecot.data_mix.templates").joinpath("chatml.jinja").read_text("utf-8")
    assert _ROLE_LINE in source and _KEEP_LINE in source
    keep = "true" if past_thinking is PastThinking.KEEP else "false"
    source = source.replace(_ROLE_LINE, f'{{%- set observation_role = "{observation_role}" -%}}')
    return source.replace(_KEEP_LINE, f"{{%- set keep_past_thinking = {keep} -%}}")
