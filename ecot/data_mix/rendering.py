"""Conversations to token ids and segments: the text of one chat template, the tokenizer's ids of it, kinds beside them.

Kinds come from character offsets. A token that straddles a boundary is never supervised if any of its characters is
not; between thinking and answer its first character decides. Straddling tokens are counted.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ecot.data_mix.alignment import Span, align
from ecot.data_mix.config import ObservationRole, PastThinking
from ecot.data_mix.encoder import TextEncoder, TokenisedText
from ecot.data_mix.layout import LayoutFinder
from ecot.data_mix.skeleton import SENTINEL_BEGIN, render_text, shape_of, to_wire
from ecot.data_mix.templates import END_THINK, THINK
from ecot.data_mix.token_texts import whole_decoder
from ecot.errors import DataError
from ecot.segments import SUPERVISED_KINDS, Kind, Run
from ecot.trajectories import Message, Role, TurnKind


@dataclass(frozen=True)
class Rendering:
    """The text of a conversation with its spans."""

    text: str
    spans: tuple[Span, ...]
    turn_starts: tuple[int, ...]
    """Character at which each supervised turn begins: the end of its generation prompt."""
    removed_thoughts: tuple[int, ...]
    """Messages whose thinking the template left out (`past_thinking: strip` and `expand` only)."""


@dataclass(frozen=True)
class Encoded:
    """The tokens of a rendering."""

    ids: np.ndarray
    """[n] int32."""
    runs: tuple[Run, ...]
    straddling: int
    """Tokens that lay over a boundary between kinds."""


class Renderer:
    """Renders, tokenises and masks conversations for one tokenizer and one set of choices.

    Args:
        tokenizer: a Hugging Face tokenizer with the chat template to use, fast or over a SentencePiece model.
        observation_role: the role that feedback gets in the template.
        past_thinking: what becomes of earlier turns' thinking.
    """

    def __init__(self, tokenizer: Any, observation_role: ObservationRole, past_thinking: PastThinking) -> None:
        self.tokenizer = tokenizer
        self.observation_role = observation_role
        self.past_thinking = past_thinking
        self._layouts = LayoutFinder(tokenizer, past_thinking)
        self.encoder = TextEncoder(tokenizer)
        self._decode = whole_decoder(tokenizer)

    def documents(self, messages: Sequence[Message]) -> Iterator[tuple[Message, ...]]:
        """The conversations that a trajectory is trained as: itself, or with `expand` one per assistant turn.

        With `strip` and `expand`, messages after the last assistant turn are left out, since a template strips a
        thought as soon as something follows it. Turns that are only context make no document of their own.
        """
        turns = [index for index, message in enumerate(messages) if message.role is Role.ASSISTANT]
        if self.past_thinking is PastThinking.KEEP:
            yield tuple(messages)
        elif self.past_thinking is PastThinking.STRIP:
            yield tuple(messages[: turns[-1] + 1])
        else:
            for turn in turns:
                if messages[turn].kind is not TurnKind.PROMPT:
                    yield tuple(messages[: turn + 1])

    def render(
        self,
        messages: Sequence[Message],
        inner: Mapping[int, Sequence[Span]] | None = None,
        kinds: Mapping[int, Kind] | None = None,
        next_role: Role | None = None,
    ) -> Rendering:
        """The text that the chat template gives, with kinds and attempts by character.

        Args:
            messages: the conversation.
            inner: for folded thoughts, message to the spans of its `reasoning_content`; the attempts that a thought
                narrates count like turns of their own.
            kinds: assistant message to the kind that all its supervised text has instead, end of turn included;
                overrides the messages' own (`Message.kind`).
            next_role: who speaks after these messages, where they end with an assistant's; some templates end a turn
                with the next one's token. A tool where one spoke before, otherwise the user, when absent.

        Raises:
            TemplateError: the template loses text that must be there, for every conversation of this shape.
            DataError: a text holds control tokens or broken Unicode, or makes the template write something else.
        """
        self.check_texts(messages)
        if next_role is None:
            next_role = Role.OBSERVATION if any(m.role is Role.OBSERVATION for m in messages) else Role.USER
        following = str(self.observation_role if next_role is Role.OBSERVATION else next_role)
        layout = self._layouts.find(shape_of(messages, self.observation_role), following)
        wire = to_wire(messages, self.observation_role)
        parts, spans, ends = [], [], [0]
        turns = [index for index, message in enumerate(messages) if message.role is Role.ASSISTANT]
        own = {index: Kind[turn_kind.name] for index in turns if (turn_kind := messages[index].kind) is not None}
        instead = {turns.index(message) + 1: given for message, given in {**own, **(kinds or {})}.items()}
        narrated = 0  # attempts told in thoughts so far, beyond the one that each turn is anyway
        for piece in layout.pieces:
            text = piece.slot.text(wire) if piece.slot else piece.literal
            parts.append(text)
            folded = (
                inner.get(piece.slot.field.message) if inner and piece.slot and piece.kind is Kind.THINKING else None
            )
            if folded and piece.slot:
                spans += _inner_spans(folded, piece.slot.field.of(wire), text, ends[-1])
                narrated = spans[-1].attempt - piece.attempt
            ends.append(ends[-1] + len(text))
            kind = instead.get(piece.attempt, piece.kind) if piece.kind in SUPERVISED_KINDS else piece.kind
            spans.append(Span(ends[-1], kind, piece.attempt + narrated))
        text = "".join(parts)
        rendered = render_text(self.tokenizer, wire) + layout.stop
        if text != rendered:
            raise DataError(_first_difference(text, rendered, spans))
        starts = tuple(ends[index] for index in layout.turn_starts)
        return Rendering(text, tuple(spans), starts, layout.removed_thoughts)

    def encode(self, renderings: Sequence[Rendering]) -> list[Encoded | DataError]:
        """Token ids and runs of each rendering; an error in place of one whose tokens differ from inference's."""
        texts = self.encoder.encode([rendering.text for rendering in renderings])
        return [self._encode(*pair) for pair in zip(renderings, texts, strict=True)]

    def _encode(self, rendering: Rendering, text: TokenisedText | DataError) -> Encoded | DataError:
        if isinstance(text, DataError):
            return text
        aligned = align(text, rendering.spans, rendering.turn_starts)
        if aligned.crossed_turn is not None:
            return DataError(
                f"the text of an assistant turn begins with {rendering.text[aligned.crossed_turn :][:10]!r}, which "
                "merges with the template's header into one token, unlike at inference; strip it, or use a template "
                "whose header ends with a token of its own"
            )
        return Encoded(text.ids, aligned.runs, aligned.straddling)

    def check_texts(self, messages: Sequence[Message]) -> None:
        """Refuse what would open or close turns, or is no text.

        Raises:
            DataError: names the message and what it holds.
        """
        for index, message in enumerate(messages):
            for name, text in (("content", message.content), ("reasoning_content", message.reasoning_content or "")):
                place = f"field 'messages.{index}.{name}'"
                try:
                    text.encode()
                except UnicodeEncodeError as error:
                    raise DataError(f"{place}: not valid Unicode ({error.reason} at {error.start})") from error
                if match := self._layouts.control.search(text):
                    raise DataError(f"{place}: holds the control token {match[0]!r} as text; remove or escape it")
                if SENTINEL_BEGIN in text:
                    raise DataError(f"{place}: holds the private-use character U+E0F0, which marks texts here")
                if message.role is Role.ASSISTANT and (THINK in text or END_THINK in text):
                    tag = THINK if THINK in text else END_THINK
                    raise DataError(f"{place}: holds {tag!r}; thinking belongs into reasoning_content, without tags")

    def generation_prompt(self, messages: Sequence[Message]) -> str:
        """The text that inference continues after `messages`."""
        return render_text(self.tokenizer, to_wire(messages, self.observation_role), generation_prompt=True)

    def token_ids(self, text: str) -> list[int]:
        """The tokenizer's ids of a text, nothing added."""
        return self.encoder.ids(text)

    def decode(self, ids: Sequence[int]) -> str:
        """The exact text of some tokens, special ones included."""
        return self._decode(ids)


def _inner_spans(folded: Sequence[Span], whole: str, rendered: str, begin: int) -> list[Span]:
    """Spans of a thought in the coordinates of the rendering, whose template may have trimmed the thought's ends."""
    offset = whole.index(rendered)
    ends = [min(max(span.end - offset, 0), len(rendered)) for span in folded]
    return [Span(begin + end, span.kind, span.attempt) for end, span in zip(ends, folded, strict=True)]


def _first_difference(expected: str, rendered: str, spans: Sequence[Span]) -> str:
    pairs = zip(expected, rendered, strict=False)
    place = next((i for i, (left, right) in enumerate(pairs) if left != right), min(len(expected), len(rendered)))
    attempt = next((span.attempt for span in spans if span.end > place), 0)
    return (
        f"the chat template renders this conversation otherwise than others of its shape, from attempt {attempt} on: "
        f"{rendered[place : place + 40]!r} in place of {expected[place : place + 40]!r}; set template: shipped"
    )
