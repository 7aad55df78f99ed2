"""Shows documents token by token with a colour per kind: in a terminal, and as HTML for reports."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.text import Text

from ecot.data_mix.store import Document
from ecot.data_mix.token_texts import text_decoder
from ecot.segments import Kind, count_tokens

TERMINAL_STYLES = {
    Kind.PROMPT: "bright_black",
    Kind.THINKING: "cyan",
    Kind.ANSWER: "green",
    Kind.OBSERVATION: "yellow",
}
HTML_STYLES = {
    Kind.PROMPT: "color:#666",
    Kind.THINKING: "background:#d9ecff",
    Kind.ANSWER: "background:#d8f5d8",
    Kind.OBSERVATION: "background:#fff0c2",
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


def counts_line(document: Document) -> str:
    """Tokens per kind and the outcome of each attempt that the document holds, in one line."""
    counts = [f"{kind.name.lower()} {count_tokens(document.runs, [kind])}" for kind in TERMINAL_STYLES]
    held = max((run.attempt for run in document.runs), default=0)
    labels = " > ".join(label or "not run" for label in document.attempt_labels[:held]) or "no attempt"
    missing = len(document.attempt_labels) - held
    rest = f" (and {missing} more that it does not hold)" if missing > 0 else ""
    return f"{document.trajectory_id} ({document.domain}): {len(document)} tokens, {', '.join(counts)}; {labels}{rest}"


def legend() -> Text:
    """What each colour means."""
    legend_text = Text("kinds: ")
    for kind, style in TERMINAL_STYLES.items():
        legend_text.append(f" {kind.name.lower()} ", style=f"reverse {style}").append(" ")
    return legend_text


def preview_text(document: Document, tokenizer: Any, mark_tokens: bool = False) -> Text:
    """The document in colours for `rich`, after a line of counts.

    Args:
        document: what to show.
        tokenizer: decodes its ids.
        mark_tokens: underline every other token, so that boundaries between tokens can be seen.
    """
    shown = Text(counts_line(document) + "\n", style="bold")
    for number, piece in enumerate(pieces(document, tokenizer)):
        underline = " underline" if mark_tokens and number % 2 else ""
        shown.append(piece.text, style=f"not bold {TERMINAL_STYLES[piece.kind]}{underline}")
    return shown


def document_html(document: Document, tokenizer: Any) -> str:
    """The document as a self-contained HTML fragment; the kind and attempt of a stretch show on hovering."""
    parts = [f"<p><b>{html.escape(counts_line(document))}</b></p>", '<pre style="white-space:pre-wrap">']
    stretch: list[Piece] = []
    for piece in pieces(document, tokenizer):
        if stretch and (piece.kind, piece.attempt) != (stretch[0].kind, stretch[0].attempt):
            parts.append(_span(stretch))
            stretch = []
        stretch.append(piece)
    parts += [_span(stretch) if stretch else "", "</pre>"]
    return "".join(parts)


def preview_html(documents: Sequence[Document], tokenizer: Any) -> str:
    """A self-contained page with some documents and a legend."""
    body = "<hr>".join(document_html(document, tokenizer) for document in documents)
    style = "body{max-width:60em;margin:2em auto;font-family:sans-serif}"
    head = f"<!doctype html><meta charset='utf-8'><title>tokens and segments</title><style>{style}</style>"
    return f"{head}<p>{html_legend()}</p>{body}\n"


def html_legend() -> str:
    """What each colour means, as an HTML fragment."""
    return " ".join(f'<span style="{style}">{kind.name.lower()}</span>' for kind, style in HTML_STYLES.items())


def _span(stretch: list[Piece]) -> str:
    first = stretch[0]
    title = f"{first.kind.name.lower()}, attempt {first.attempt}, {sum(piece.tokens for piece in stretch)} tokens"
    text = html.escape("".join(piece.text for piece in stretch))
    return f'<span style="{HTML_STYLES[first.kind]}" title="{title}">{text}</span>'
