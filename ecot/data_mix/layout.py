"""Kinds and attempts for a conversation of a given shape: which parts of a rendering are supervised, and as what.

For each assistant turn the generation prompt is rendered as inference would render it; what follows it, through the
end-of-turn token, is supervised. A template that loses text, rewrites earlier turns or has no end of turn is refused.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from ecot.data_mix.config import PastThinking
from ecot.data_mix.skeleton import (
    SENTINEL_BEGIN,
    SENTINEL_END,
    Field,
    MessageShape,
    Shape,
    Skeleton,
    Slot,
    describe,
    fields_of,
    probe,
    render_sentinels,
)
from ecot.data_mix.templates import END_THINK, THINK
from ecot.errors import TemplateError
from ecot.segments import Kind

SHIPPED_REMEDY = "set template: shipped"
PAST_REMEDY = f"{SHIPPED_REMEDY}, or past_thinking: strip or expand"


class Piece(NamedTuple):
    """A stretch of a rendering: literal text of the template, or a message's text in its slot."""

    literal: str
    """Empty when `slot` is given."""
    slot: Slot | None
    kind: Kind
    attempt: int


@dataclass(frozen=True)
class Layout:
    """How every conversation of one shape is rendered and masked."""

    skeleton: Skeleton
    pieces: tuple[Piece, ...]
    turn_starts: tuple[int, ...]
    """For each supervised turn the index of its first piece: where the generation prompt ends."""
    removed_thoughts: tuple[int, ...]
    """Messages whose thinking the template leaves out."""
    stop: str = ""
    """What ends the last turn beyond the rendering: where turns have no end of their own, the token that opens the next
    one, as the template writes it once there is a next one."""


class _Turn(NamedTuple):
    """A supervised stretch in the coordinates of the skeleton's source."""

    start: int
    answer_start: int
    end: int
    before_answer: Kind
    """The kind of what stands before the answer."""
    supervised: bool


class LayoutFinder:
    """Finds layouts for one tokenizer and one choice of `past_thinking`."""

    def __init__(self, tokenizer: Any, past_thinking: PastThinking) -> None:
        self.tokenizer = tokenizer
        self.past_thinking = past_thinking
        self.control = control_pattern(tokenizer)
        self._layouts: dict[tuple[Shape, str], Layout] = {}
        self._sources: dict[tuple[Shape, bool], str] = {}

    def find(self, shape: Shape, next_role: str = "user") -> Layout:
        """The layout of a shape, remembered.

        Args:
            shape: the conversation's.
            next_role: whose turn it would be after a last assistant turn; matters only to templates in which the next
                turn's token ends a turn (GLM-4.5).

        Raises:
            TemplateError: names what the template loses and the remedy.
        """
        key = (shape, next_role)
        if key not in self._layouts:
            if len(self._layouts) >= 4096:  # shapes of long general chats need not all be remembered
                self._layouts.clear()
                self._sources.clear()
            self._layouts[key] = self._find(shape, next_role)
        return self._layouts[key]

    def _find(self, shape: Shape, next_role: str) -> Layout:
        skeleton = probe(self.tokenizer, shape)
        last = last_turn(shape)
        removed = self._check_nothing_lost(shape, skeleton, last)
        stop = self._stop_after(shape, skeleton, next_role) if last == len(shape) - 1 else ""
        skeleton = replace(skeleton, tail=skeleton.tail + stop, source=skeleton.source + stop)
        only_last = self.past_thinking is PastThinking.EXPAND
        indices = [index for index, message in enumerate(shape) if message.role == "assistant"]
        turns = [self._turn(shape, skeleton, index, supervised=index == last or not only_last) for index in indices]
        # What earlier documents of an expanded trajectory hold already is context here: no token has a kind to learn
        # in two of them.
        told_before = indices[-2] if only_last and len(indices) > 1 else -1
        pieces, starts = _cut(skeleton, turns, shape, told_before)
        return Layout(skeleton, tuple(pieces), tuple(starts), removed, stop)

    def _stop_after(self, shape: Shape, skeleton: Skeleton, next_role: str) -> str:
        """What the template would write after a last turn to open the next; empty where the turn has an end itself."""
        if self.control.search(skeleton.tail):
            return ""
        following = MessageShape(next_role, observation=False, thinks=False, has_content=True)
        answering = shape[-1]._replace(has_content=True)  # a next turn may take the thought away, never the answer
        try:
            source = self._source((*shape[:-1], answering, following), False)
        except TemplateError:  # the template refuses that role, so no such turn ever follows
            return ""
        end = source.find(f"{SENTINEL_BEGIN}{len(shape) - 1}c{SENTINEL_END}")
        match = self.control.match(source, source.index(SENTINEL_END, end) + 1) if end >= 0 else None
        return match[0] if match else ""

    def _source(self, shape: Shape, generation_prompt: bool) -> str:
        """The rendering of a shape with sentinels, remembered: a conversation's prefixes are those of many others."""
        key = (shape, generation_prompt)
        if key not in self._sources:
            self._sources[key] = render_sentinels(self.tokenizer, shape, False, generation_prompt)
        return self._sources[key]

    def _check_nothing_lost(self, shape: Shape, skeleton: Skeleton, last: int) -> tuple[int, ...]:
        rendered = set(skeleton.fields)
        removed = []
        for field in fields_of(shape):
            if field in rendered:
                continue
            assert field.part == "t", "a lost content is refused when the shape is probed"
            past = field.message < last
            if past and self.past_thinking is not PastThinking.KEEP:
                removed.append(field.message)
                continue
            raise TemplateError(
                f"the chat template loses the {describe(field, shape)} of a conversation of {len(shape)} messages; "
                + (PAST_REMEDY if past else SHIPPED_REMEDY)
            )
        if list(skeleton.fields) != sorted(skeleton.fields, key=lambda field: (field.message, field.part == "c")):
            raise TemplateError(f"the chat template changes the order of messages; {SHIPPED_REMEDY}")
        return tuple(removed)

    def _turn(self, shape: Shape, skeleton: Skeleton, index: int, supervised: bool) -> _Turn:
        start = self._turn_start(shape, skeleton, index)
        positions = _sentinel_positions(skeleton)
        thinking, content = (positions.get(Field(index, part)) for part in ("t", "c"))
        texts_end = max([start] + [end for position in (thinking, content) if position for end in position[1:]])
        following = [begin for begin, _ in positions.values() if begin >= texts_end]
        match = self.control.search(skeleton.source, texts_end, min(following, default=len(skeleton.source)))
        end_of_turn = self._end_of_turn(shape[index])
        # Where a turn has no end of its own, the token that opens the next turn stops generation (GLM-4.5).
        # It follows the answer at once, or what the template writes for an empty one.
        written = "" if content else self._tail(shape[: index + 1])
        stops = match is not None and (
            skeleton.source[texts_end : match.start()] == written if end_of_turn is None else match[0] == end_of_turn
        )
        if match is None or not stops:
            raise TemplateError(
                f"no special token ends message {index} (assistant) of {len(shape)}, so stopping would never be "
                f"learned; {SHIPPED_REMEDY}"
            )
        answer_start = content[0] if content else match.start()
        before = Kind.THINKING if thinking else Kind.ANSWER
        if not thinking and END_THINK in skeleton.source[start:answer_start]:
            before = Kind.PROMPT  # an empty thought that the template wrote by itself is no target
        return _Turn(start, answer_start, match.end(), before, supervised)

    def _tail(self, shape: Shape) -> str:
        """What the template writes after the last text of a conversation."""
        return self._source(shape, False).rpartition(SENTINEL_END)[2]

    def _end_of_turn(self, turn: MessageShape) -> str | None:
        """The special token that follows the answer of a last turn."""
        shape = (MessageShape("user", False, False, True), turn._replace(has_content=True))
        match = self.control.search(self._tail(shape))
        return match[0] if match else None

    def _turn_start(self, shape: Shape, skeleton: Skeleton, index: int) -> int:
        """Where the generation prompt of a turn ends in the skeleton's source."""
        source = skeleton.source
        prompt = self._source(shape[:index], True)
        if source.startswith(prompt):
            return len(prompt)
        if self.past_thinking is PastThinking.KEEP or index == last_turn(shape):
            remedy = PAST_REMEDY if index < last_turn(shape) else SHIPPED_REMEDY
            raise TemplateError(
                f"the chat template renders what comes before message {index} (assistant) otherwise once the message "
                f"is there, so training and inference would differ; {remedy}"
            )
        bare = self._source(shape[:index], False)
        positions = _sentinel_positions(skeleton)
        own = [begin for field, (begin, _) in positions.items() if field.message == index]
        if not own or not prompt.startswith(bare):
            raise TemplateError(f"cannot tell where message {index} (assistant) begins; {SHIPPED_REMEDY}")
        header = prompt[len(bare) :]
        before = max([end for _, end in positions.values() if end <= min(own)], default=0)
        found = source.rfind(header, before, min(own))
        if found >= 0:
            return found + len(header)
        # The generation prompt opens a thought that is not there any more: what precedes the text is a part of it.
        if any(source[before : min(own)].endswith(header[:length]) for length in range(1, len(header))):
            return min(own)
        raise TemplateError(f"cannot tell where message {index} (assistant) begins; {SHIPPED_REMEDY}")


def last_turn(shape: Shape) -> int:
    """Index of the last assistant message."""
    return max(index for index, message in enumerate(shape) if message.role == "assistant")


def control_pattern(tokenizer: Any) -> re.Pattern[str]:
    """Matches the special tokens of a tokenizer, the thinking tags left aside.

    Raises:
        TemplateError: the tokenizer has none.
    """
    special = [token.content for token in tokenizer.added_tokens_decoder.values() if token.special]
    special = [text for text in special if text not in (THINK, END_THINK)]
    if not special:
        raise TemplateError("the tokenizer has no special token, so no turn could end")
    return re.compile("|".join(re.escape(text) for text in sorted(special, key=len, reverse=True)))


def _sentinel_positions(skeleton: Skeleton) -> dict[Field, tuple[int, int]]:
    """Where each field's sentinel stands in the source, as (begin, end)."""
    positions, end = {}, 0
    for slot in skeleton.slots:
        begin = end + len(slot.literal)
        end = skeleton.source.index(SENTINEL_END, begin) + 1
        positions[slot.field] = (begin, end)
    return positions


def _cut(skeleton: Skeleton, turns: Sequence[_Turn], shape: Shape, told_before: int) -> tuple[list[Piece], list[int]]:
    """Cut the skeleton into pieces of one kind and attempt each, and say which piece begins each supervised turn.

    Observations up to message `told_before` are context.
    """
    positions = _sentinel_positions(skeleton)
    edges = {0, len(skeleton.source)}
    edges.update(edge for turn in turns for edge in (turn.start, turn.answer_start, turn.end))
    edges.update(edge for position in positions.values() for edge in position)
    slots = {positions[slot.field][0]: slot for slot in skeleton.slots}
    ordered = sorted(edges)
    supervised_starts = {turn.start for turn in turns if turn.supervised}
    pieces: list[Piece] = []
    starts: list[int] = []
    for begin, end in itertools.pairwise(ordered):
        if begin in supervised_starts:
            starts.append(len(pieces))
        attempt = sum(turn.start <= begin for turn in turns)
        kind = _kind(begin, turns[attempt - 1] if attempt else None)
        slot = slots.get(begin)
        if slot is not None and shape[slot.field.message].observation and slot.field.message > told_before:
            kind = Kind.OBSERVATION
        pieces.append(Piece("" if slot else skeleton.source[begin:end], slot, kind, attempt))
    return pieces, starts


def _kind(position: int, turn: _Turn | None) -> Kind:
    if turn is None or position >= turn.end or not turn.supervised:
        return Kind.PROMPT
    return turn.before_answer if position < turn.answer_start else Kind.ANSWER
