"""Trajectories to documents: rendered, tokenised, cut where too long, and counted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ecot.data_mix.config import Form, OverLong, PastThinking
from ecot.data_mix.folding import fold
from ecot.data_mix.ledger import Tally
from ecot.data_mix.rendering import Encoded, Renderer, Rendering
from ecot.data_mix.splitting import Conversation, Window, longest, split
from ecot.errors import DataError
from ecot.outcomes import Label
from ecot.segments import Kind, Run, count_tokens, trained_kinds
from ecot.trajectories import Message, Role, Trajectory, TurnKind


@dataclass(frozen=True)
class NewDocument:
    """A document on its way into the store."""

    encoded: Encoded
    cut: bool
    """Whether turns of it were left out for its length."""
    repeated: int
    """Tokens at its beginning that the trajectory's previous document begins with as well."""
    added: int
    """Tokens that it adds to one document of the same turns in which all thoughts are kept."""

    def digest(self, trajectory: Trajectory) -> bytes:
        """16 bytes over what training sees: ids, runs, and the outcomes and domain that loss rules and groups use."""
        runs = np.array(self.encoded.runs, np.int32)
        outcomes = json.dumps([trajectory.domain, trajectory.verdict, labels_by_attempt(trajectory)])
        parts = (self.encoded.ids.tobytes(), runs.tobytes(), outcomes.encode())
        return hashlib.blake2b(b"|".join(parts), digest_size=16).digest()


@dataclass(frozen=True)
class Tokenised:
    """What became of one trajectory."""

    documents: tuple[NewDocument, ...]
    """Empty when no part of it fits into a pack."""
    lost: Tally
    """What its length cost: `rows` is 1 if anything was."""
    removed_thoughts: tuple[int, ...]
    """Messages whose thoughts the template left out of the last kept document."""
    unanswered: tuple[int, ...] = ()
    """Messages after a last attempt that the form or `past_thinking` leaves out."""

    @property
    def kept(self) -> Tally:
        """What goes into the store."""
        total = _tally([document.encoded for document in self.documents])
        return replace(total, rows=1 if self.documents else 0)


_Made = tuple[Rendering, Encoded]


class DocumentMaker:
    """Makes documents no longer than a pack.

    Args:
        renderer: renders and tokenises.
        pack_tokens: the longest that a document may be.
        over_long: what becomes of longer ones.
        form: how trajectories are laid out.
    """

    def __init__(self, renderer: Renderer, pack_tokens: int, over_long: OverLong, form: Form = Form.MULTI_TURN) -> None:
        self.renderer = renderer
        self.form = form
        self.pack_tokens = pack_tokens
        self.over_long = over_long

    def make(self, trajectories: Sequence[Trajectory]) -> list[Tokenised | DataError]:
        """Tokenise a batch; an error in place of a trajectory that cannot be rendered without harm.

        Raises:
            TemplateError: the chat template loses text of every conversation of some shape.
        """
        renderings: list[list[Rendering] | DataError] = [self._render(t.messages) for t in trajectories]
        flat = [r for group in renderings if not isinstance(group, DataError) for r in group]
        encoded = iter(self.renderer.encode(flat))
        results: list[Tokenised | DataError] = []
        for trajectory, group in zip(trajectories, renderings, strict=True):
            if isinstance(group, DataError):
                results.append(group)
                continue
            codes = [next(encoded) for _ in group]
            error = next((code for code in codes if isinstance(code, DataError)), None)
            if error is not None:
                results.append(error)
                continue
            whole = [code for code in codes if isinstance(code, Encoded)]
            results.append(self._fit(trajectory, group, whole))
        return results

    def _render(self, messages: Sequence[Message]) -> list[Rendering] | DataError:
        try:
            if self.form is Form.FOLDED:
                folded = fold(messages)
                return [self.renderer.render(folded.messages, folded.inner)]
            return [self._render_part(messages, len(part)) for part in self.renderer.documents(messages)]
        except DataError as error:
            return error

    def _render_part(self, messages: Sequence[Message], length: int) -> Rendering:
        """The first messages of a conversation."""
        return self.renderer.render(messages[:length], next_role=messages[length].role if messages[length:] else None)

    def _unanswered(self, messages: Sequence[Message]) -> tuple[int, ...]:
        if self.form is Form.FOLDED:
            return fold(messages).unanswered
        longest = max(len(part) for part in self.renderer.documents(messages))
        return tuple(range(longest, len(messages)))

    def _fit(self, trajectory: Trajectory, renderings: list[Rendering], whole: list[Encoded]) -> Tokenised | DataError:
        pairs = list(zip(renderings, whole, strict=True))
        kept = [(rendering, code) for rendering, code in pairs if len(code.ids) <= self.pack_tokens]
        cut = len(kept) < len(whole)
        removed = kept[-1][0].removed_thoughts if kept else ()
        try:
            if cut and self.over_long is OverLong.SPLIT:
                kept, lost, removed = self._split(trajectory.messages, pairs)
            else:
                kept = self._leave_out(trajectory.messages, kept) if cut else kept
                removed = kept[-1][0].removed_thoughts if kept else ()
                lost = _difference(whole, [code for _, code in kept])
        except DataError as error:
            return error
        documents, previous = [], np.empty(0, np.int32)
        for (_, code), added in zip(kept, self._added(trajectory.messages, kept), strict=True):
            documents.append(NewDocument(code, cut, _common_prefix(previous, code.ids), added))
            previous = code.ids
        return Tokenised(tuple(documents), lost, removed, self._unanswered(trajectory.messages) if kept else ())

    def _added(self, messages: Sequence[Message], kept: Sequence[_Made]) -> Iterator[int]:
        """`NewDocument.added` of each document. Expanded ones hold earlier turns again, without their thoughts."""
        turns = [index for index, message in enumerate(messages) if message.role is Role.ASSISTANT]
        thoughts: dict[int, int] = {}
        so_far = 0
        for rendering, code in kept:
            length = len(code.ids) + sum(thoughts.get(index, 0) for index in rendering.removed_thoughts)
            yield max(0, length - so_far)
            if self.renderer.past_thinking is PastThinking.EXPAND:
                own = turns[max(run.attempt for run in code.runs) - 1]
                thoughts[own] = count_tokens(code.runs, [Kind.THINKING])
                so_far = max(so_far, length)

    def _leave_out(self, messages: Sequence[Message], short: list[_Made]) -> list[_Made]:
        """`over_long: drop` and `cut_turns`, for a trajectory of which only some documents are short enough."""
        if self.over_long is OverLong.DROP:
            return []
        # Expanded documents are prefixes of each other, so leaving out the long ones is cutting turns already.
        if self.renderer.past_thinking is PastThinking.EXPAND:
            return short
        shorter = self._shorten(messages)
        return [shorter] if shorter else []

    def _split(self, messages: Sequence[Message], whole: list[_Made]) -> tuple[list[_Made], Tally, tuple[int, ...]]:
        """`over_long: split`: documents, what is lost, and the messages whose thoughts the template left out."""
        conversation = Conversation(messages)
        if self.renderer.past_thinking is PastThinking.EXPAND:
            return (*self._split_expanded(conversation, whole), ())
        runs = whole[0][1].runs
        sizes = [_of_attempt(runs, attempt, tuple(Kind)) for attempt in range(len(conversation.turns) + 1)]
        fitted = split(conversation, sizes, self.pack_tokens, self._fit_window)
        supervised = sum(_of_attempt(runs, turn + 1, trained_kinds(runs)) for turn in fitted.lost)
        tally = Tally(int(bool(fitted.lost)), 0, sum(sizes[turn + 1] for turn in fitted.lost), supervised)
        removed = [
            message + window.moved
            for window, (rendering, _) in fitted.windows
            for message in rendering.removed_thoughts
            if message != len(conversation.opening) or not window.shown  # not the turn that is only shown
        ]
        if not fitted.windows:
            tally = replace(_tally([whole[0][1]]), rows=1)
        return [made for _, made in fitted.windows], tally, tuple(removed)

    def _split_expanded(self, conversation: Conversation, whole: list[_Made]) -> tuple[list[_Made], Tally]:
        """A document per turn, each with as much before it as fits: everything, or the turn before."""
        kept: list[_Made] = []
        lost: list[Encoded] = []
        for rendering, code in whole:
            if len(code.ids) <= self.pack_tokens:
                kept.append((rendering, code))
                continue
            turn = max(run.attempt for run in code.runs) - 1
            found = longest(conversation, turn, turn + 1, self._fit_window)
            if found:
                kept.append(found[1])
            else:
                lost.append(code)
        return kept, replace(_tally(lost), rows=int(bool(lost)))

    def _fit_window(self, window: Window) -> _Made | None:
        """The document of a window, with attempts numbered as in the conversation; None when it is too long."""
        messages = window.messages
        if window.next_role is None:  # the end of the conversation, of which some choices take nothing after a turn
            *_, messages = self.renderer.documents(messages)
        rendering = self.renderer.render(messages, next_role=window.next_role)
        earlier = window.turns.start - window.shown
        spans = tuple(s._replace(attempt=s.attempt + earlier) if s.attempt else s for s in rendering.spans)
        (code,) = self.renderer.encode([replace(rendering, spans=spans)])
        if isinstance(code, DataError):
            raise code
        return (rendering, code) if len(code.ids) <= self.pack_tokens else None

    def _shorten(self, messages: Sequence[Message]) -> _Made | None:
        """The longest beginning of a trajectory that fits and ends with an attempt or its observation."""
        trained = [i for i, m in enumerate(messages) if m.role is Role.ASSISTANT and m.kind is not TurnKind.PROMPT]
        for end in range(len(messages) - 1, trained[0], -1):
            if messages[end - 1].role not in (Role.ASSISTANT, Role.OBSERVATION):
                continue
            part = next(iter(self.renderer.documents(messages[:end])))
            rendering = self._render_part(messages, len(part))
            (code,) = self.renderer.encode([rendering])
            if isinstance(code, DataError):
                raise code
            if len(code.ids) <= self.pack_tokens:
                return rendering, code
        return None


def labels_by_attempt(trajectory: Trajectory) -> list[Label | None]:
    """The outcome of each assistant turn in order; None where nothing was executed."""
    labels = {attempt.message_index: attempt.label for attempt in trajectory.attempts}
    return [labels.get(index) for index, m in enumerate(trajectory.messages) if m.role is Role.ASSISTANT]


def _tally(codes: Sequence[Encoded]) -> Tally:
    supervised = sum(count_tokens(code.runs, trained_kinds(code.runs)) for code in codes)
    return Tally(0, len(codes), sum(len(code.ids) for code in codes), supervised)


def _difference(whole: Sequence[Encoded], kept: Sequence[Encoded]) -> Tally:
    """What is in the whole and not in the kept documents."""
    all_of_it, rest = _tally(whole), _tally(kept)
    return Tally(
        rows=int(all_of_it.tokens > rest.tokens),
        documents=all_of_it.documents - rest.documents,
        tokens=all_of_it.tokens - rest.tokens,
        supervised=all_of_it.supervised - rest.supervised,
    )


def _of_attempt(runs: Sequence[Run], attempt: int, kinds: Sequence[Kind]) -> int:
    return sum(run.length for run in runs if run.attempt == attempt and run.kind in kinds)


def _common_prefix(left: np.ndarray, right: np.ndarray) -> int:
    length = min(len(left), len(right))
    different = np.nonzero(left[:length] != right[:length])[0]
    return int(different[0]) if len(different) else length
