"""Shows documents token by token with a colour per kind: in a terminal, and as HTML for reports."""

from __future__ import annotations

import html
import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.text import Text

from ecot.data_mix.store import Document, DocumentStore
from ecot.data_mix.token_texts import text_decoder
from ecot.data_mix.visible_text import visible
from ecot.errors import DataError
from ecot.segments import Kind, count_tokens

TERMINAL_STYLES = {
    Kind.PROMPT: "bright_black",
    Kind.THINKING: "cyan",
    Kind.ANSWER: "green",
    Kind.OBSERVATION: "yellow",
}
HTML_COLORS = {
    Kind.PROMPT: (102, 102, 102),
    Kind.THINKING: (120, 190, 255),
    Kind.ANSWER: (120, 220, 120),
    Kind.OBSERVATION: (255, 210, 100),
}


@dataclass(frozen=True)
class Piece:
    """The text of one token, or of several that only together are whole characters."""

    text: str
    tokens: int
    kind: Kind
    attempt: int


def pieces(document: Document, tokenizer: Any) -> Iterator[Piece]:
    """The document's text token by token; concatenated, the pieces are the decoded document."""
    position = 0
    ids = document.ids.tolist()
    decode = text_decoder(tokenizer)
    for run in document.runs:
        end = position + run.length
        while position < end:
            stop = position + 1
            text = decode(ids, position, stop)
            # Byte-level tokens can hold parts of a character; decoding shows U+FFFD until it is whole.
            while "\ufffd" in text and stop < min(end, position + 8):
                stop += 1
                text = decode(ids, position, stop)
            yield Piece(text, stop - position, run.kind, run.attempt)
            position = stop


def choose(store: DocumentStore, start: int, count: int, trajectory: str | None = None) -> list[Document]:
    """Some documents of a store, or those of one trajectory.

    Raises:
        DataError: there is no such document.
    """
    if trajectory is None:
        if start >= len(store):
            raise DataError(f"the store has {len(store)} documents, and the first to show is number {start + 1}")
        return [store[index] for index in range(start, min(start + count, len(store)))]
    every = (store[index] for index in range(len(store)))
    found = [document for document in every if document.trajectory_id == trajectory]
    if not found:
        raise DataError(f"no document of a trajectory with id {trajectory!r}; it may be refused or left out")
    return found


def counts_line(document: Document) -> str:
    """Tokens per kind and the outcome of each attempt that the document holds, in one line."""
    counts = [f"{kind.name.lower()} {count_tokens(document.runs, [kind])}" for kind in TERMINAL_STYLES]
    held = max((run.attempt for run in document.runs), default=0)
    labels = " > ".join(label or "not run" for label in document.attempt_labels[:held]) or "no attempt"
    missing = len(document.attempt_labels) - held
    rest = f" (and {missing} more that it does not hold)" if missing > 0 else ""
    name = f"{visible(document.trajectory_id)} ({document.domain})"
    return f"{name}: {len(document)} tokens, {', '.join(counts)}; {labels}{rest}"


def weights_line(document: Document, weights: np.ndarray) -> str:
    """How many tokens of each kind weigh what, in one line.

    Args:
        document: whose runs.
        weights: [runs] as `LossWeights.of_runs` gives them.
    """
    counts: Counter[tuple[Kind, float]] = Counter()
    for run, weight in zip(document.runs, weights.tolist(), strict=True):
        if run.kind is not Kind.PROMPT or weight > 0:
            counts[run.kind, round(weight, 4)] += run.length
    parts = [f"{kind.name.lower()} {count} at {weight:g}" for (kind, weight), count in sorted(counts.items())]
    return f"weights: {', '.join(parts) or 'nothing is trained'}"


def legend() -> Text:
    """What each colour and shade means."""
    legend_text = Text("kinds: ")
    for kind, style in TERMINAL_STYLES.items():
        legend_text.append(f" {kind.name.lower()} ", style=f"reverse {style}").append(" ")
    legend_text.append("\nweights: ")
    for example, meaning in ((0.0, "0"), (0.5, "below 1"), (1.0, "1"), (2.0, "above 1")):
        legend_text.append(meaning, style=_terminal_style(Kind.THINKING, example)).append("  ")
    return legend_text


def preview_text(
    document: Document, tokenizer: Any, weights: np.ndarray | None = None, mark_tokens: bool = False
) -> Text:
    """The document for `rich`: a colour per kind, a shade per weight, after lines of counts.

    Control characters in the text are written out (`visible`), so a terminal shows them and does not obey them.

    Args:
        document: what to show.
        tokenizer: decodes its ids.
        weights: [runs] weight of the tokens of each run; all 1 when absent.
        mark_tokens: underline every other token, so that boundaries between tokens can be seen.
    """
    shown = Text(counts_line(document) + "\n", style="bold")
    if weights is not None:
        shown.append(weights_line(document, weights) + "\n", style="not bold")
    for number, (piece, weight) in enumerate(weighed_pieces(document, tokenizer, weights)):
        underline = " underline" if mark_tokens and number % 2 else ""
        shown.append(visible(piece.text), style=f"not bold {_terminal_style(piece.kind, weight)}{underline}")
    return shown


def weighed_pieces(
    document: Document, tokenizer: Any, weights: np.ndarray | None = None
) -> Iterator[tuple[Piece, float]]:
    """The pieces of a document, each with its weight."""
    values = [1.0] * len(document.runs) if weights is None else weights.tolist()
    ends = list(itertools.accumulate(run.length for run in document.runs))
    position, number = 0, 0
    for piece in pieces(document, tokenizer):
        while position >= ends[number]:
            number += 1
        yield piece, values[number]
        position += piece.tokens


def _terminal_style(kind: Kind, weight: float) -> str:
    """Four shades that terminals of 16 colours have as well."""
    color = TERMINAL_STYLES[kind]
    if kind is Kind.PROMPT:
        return color if weight == 0 else f"bold {color}"
    if weight == 0:
        return f"dim {color}"
    return color if weight < 1 else f"bright_{color}" if weight == 1 else f"bold bright_{color}"


def document_html(document: Document, tokenizer: Any, weights: np.ndarray | None = None) -> str:
    """The document as a self-contained HTML fragment; kind, attempt and weight of a stretch show on hovering."""
    parts = [f"<p><b>{html.escape(counts_line(document))}</b>"]
    if weights is not None:
        parts.append(f"<br>{html.escape(weights_line(document, weights))}")
    parts.append('</p><pre style="white-space:pre-wrap">')
    weighed = weighed_pieces(document, tokenizer, weights)
    for (_, _, weight), group in itertools.groupby(weighed, key=lambda p: (p[0].kind, p[0].attempt, p[1])):
        parts.append(_span([piece for piece, _ in group], weight))
    return "".join([*parts, "</pre>"])


def preview_html(documents: Sequence[Document], tokenizer: Any, weights: Sequence[np.ndarray] | None = None) -> str:
    """A self-contained page with some documents and a legend."""
    of_each = weights if weights is not None else [None] * len(documents)
    body = "<hr>".join(document_html(document, tokenizer, w) for document, w in zip(documents, of_each, strict=True))
    style = "body{max-width:60em;margin:2em auto;font-family:sans-serif}"
    head = f"<!doctype html><meta charset='utf-8'><title>tokens and segments</title><style>{style}</style>"
    return f"{head}<p>{html_legend()}</p>{body}\n"


def html_legend() -> str:
    """What each colour means, as an HTML fragment."""
    kinds = " ".join(f'<span style="{_html_style(kind, 1.0)}">{kind.name.lower()}</span>' for kind in HTML_COLORS)
    return f"{kinds}; the paler, the less it weighs; struck through: nothing"


def _html_style(kind: Kind, weight: float) -> str:
    if kind is Kind.PROMPT:
        return "color:#666"
    red, green, blue = HTML_COLORS[kind]
    struck = ";text-decoration:line-through #bbb" if weight == 0 else ""
    return f"background:rgba({red},{green},{blue},{0.15 + 0.85 * min(weight, 2.0) / 2.0:.2f}){struck}"


def _span(stretch: list[Piece], weight: float) -> str:
    first = stretch[0]
    tokens = sum(piece.tokens for piece in stretch)
    title = f"{first.kind.name.lower()}, attempt {first.attempt}, {tokens} tokens, weight {weight:g}"
    text = html.escape(visible("".join(piece.text for piece in stretch)))
    return f'<span style="{_html_style(first.kind, weight)}" title="{title}">{text}</span>'
