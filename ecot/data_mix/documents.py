"""Trajectories to documents: rendered, tokenised, cut where too long, and counted."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ecot.data_mix.config import Form, OverLong, PastThinking
from ecot.data_mix.folding import fold
from ecot.data_mix.ledger import Tally
from ecot.data_mix.rendering import Encoded, Renderer, Rendering
from ecot.errors import DataError
from ecot.outcomes import Label
from ecot.segments import count_tokens, trained_kinds
from ecot.trajectories import Message, Role, Trajectory


@dataclass(frozen=True)
class NewDocument:
    """A document on its way into the store."""

    encoded: Encoded
    cut: bool
    """Whether turns of it were left out for its length."""
    repeated: int
    """Tokens at its beginning that the trajectory's previous document begins with as well."""

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
        kept = [
            (rendering, code)
            for rendering, code in zip(renderings, whole, strict=True)
            if len(code.ids) <= self.pack_tokens
        ]
        cut = len(kept) < len(whole)
        # Expanded documents are prefixes of each other, so leaving out the long ones is cutting turns already.
        if self.over_long is OverLong.DROP:
            kept = [] if cut else kept
        elif cut and self.renderer.past_thinking is not PastThinking.EXPAND:
            shorter = self._shorten(trajectory.messages)
            if isinstance(shorter, DataError):
                return shorter
            kept = [shorter] if shorter else []
        documents, previous = [], np.empty(0, np.int32)
        for _, code in kept:
            documents.append(NewDocument(code, cut, _common_prefix(previous, code.ids)))
            previous = code.ids
        lost = _tally(whole)
        remaining = _tally([code for _, code in kept])
        lost = Tally(
            rows=int(cut),
            documents=lost.documents - remaining.documents,
            tokens=lost.tokens - remaining.tokens,
            supervised=lost.supervised - remaining.supervised,
        )
        removed = kept[-1][0].removed_thoughts if kept else ()
        return Tokenised(tuple(documents), lost, removed, self._unanswered(trajectory.messages) if kept else ())

    def _shorten(self, messages: Sequence[Message]) -> tuple[Rendering, Encoded] | DataError | None:
        """The longest beginning of a trajectory that fits and ends with an attempt or its observation."""
        turns = [index for index, message in enumerate(messages) if message.role is Role.ASSISTANT]
        for end in range(len(messages) - 1, turns[0], -1):
            if messages[end - 1].role not in (Role.ASSISTANT, Role.OBSERVATION):
                continue
            part = next(iter(self.renderer.documents(messages[:end])))
            try:
                rendering = self._render_part(messages, len(part))
            except DataError as error:
                return error
            (code,) = self.renderer.encode([rendering])
            if isinstance(code, DataError) or len(code.ids) <= self.pack_tokens:
                return code if isinstance(code, DataError) else (rendering, code)
        return None


def labels_by_attempt(trajectory: Trajectory) -> list[Label | None]:
    """The outcome of each assistant turn in order; None where nothing was executed."""
    labels = {attempt.message_index: attempt.label for attempt in trajectory.attempts}
    return [labels.get(index) for index, m in enumerate(trajectory.messages) if m.role is Role.ASSISTANT]


def _tally(codes: Sequence[Encoded]) -> Tally:
    supervised = sum(count_tokens(code.runs, trained_kinds(code.runs)) for code in codes)
    return Tally(0, len(codes), sum(len(code.ids) for code in codes), supervised)


def _common_prefix(left: np.ndarray, right: np.ndarray) -> int:
    length = min(len(left), len(right))
    different = np.nonzero(left[:length] != right[:length])[0]
    return int(different[0]) if len(different) else length
