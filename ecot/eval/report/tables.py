"""The tables of the report, ready to be shown: text in cells, the same for the page and the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ecot.data_mix.ledger import Tally
from ecot.eval.report.figures import SCORED, DomainAccount, Lengths, in_taxonomy_order, label_totals
from ecot.eval.results import EvalResult
from ecot.rates import Rate

HASH_CHARACTERS = 12
"""Of a hash that is shown."""
ABSENT = "-"
"""In a cell without a value."""


@dataclass(frozen=True)
class Table:
    """Cells as text; the first column names the row."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    left: frozenset[int] = frozenset({0})
    """Columns of words; the others hold numbers and are set to the right."""


def percent(share: float) -> str:
    """A share in percent; it is never rounded to 0 or 100 unless it is."""
    if 0 < share < 0.0005:
        return "<0.1%"
    if 0.9995 <= share < 1:
        return ">99.9%"
    text = f"{100 * share:.1f}"
    return f"{text.removesuffix('.0')}%"


def rate_text(rate: Rate) -> str:
    """Share, counts and interval."""
    return f"{percent(rate.value)} ({rate.successes}/{rate.trials}; 95%: {percent(rate.low)} to {percent(rate.high)})"


def loss_table(results: Sequence[EvalResult]) -> Table:
    """Loss and accuracy per milestone and segment kind."""
    kinds = [kind.name.lower() for kind in SCORED]
    rows = []
    for result in results:
        means = result.heldout.means
        cells = [f"{means[name]:.3f}" if name in means else ABSENT for name in ("loss", *(f"loss/{k}" for k in kinds))]
        hits = [percent(means[f"accuracy/{k}"]) if f"accuracy/{k}" in means else ABSENT for k in kinds]
        rows.append((result.milestone, f"{result.trained_tokens:,}", *cells, *hits))
    return Table(
        "Held-out loss (nats per token) and share of tokens that are the model's first choice",
        ("milestone", "trained tokens", "loss", *kinds, *(f"{kind}, top-1" for kind in kinds)),
        tuple(rows),
    )


def attempt_loss_table(result: EvalResult) -> Table:
    """Loss and accuracy of one milestone per segment kind and attempt."""
    attempts = sorted({group.attempt for group in result.heldout.groups})
    rows = []
    for kind in (kind.name.lower() for kind in SCORED):
        for attempt in attempts:
            groups = [g for g in result.heldout.groups if (g.kind, g.attempt) == (kind, attempt)]
            tokens = sum(group.tokens for group in groups)
            if tokens:
                loss = sum(group.loss * group.tokens for group in groups) / tokens
                hits = sum(group.accuracy * group.tokens for group in groups) / tokens
                rows.append((kind, str(attempt), f"{tokens:,}", f"{loss:.3f}", percent(hits)))
    return Table(
        f"Held-out loss at {result.milestone} per segment kind and attempt",
        ("kind", "attempt", "tokens", "nats per token", "top-1"),
        tuple(rows),
    )


def label_table(caption: str, first: str, rows: Sequence[tuple[str, Mapping[str, int]]]) -> Table:
    """Labels across, rows as given, sums at the ends."""
    labels = list(label_totals([counts for _, counts in rows]))
    body = [
        (name, *(str(counts.get(label, 0)) for label in labels), str(sum(counts.values()))) for name, counts in rows
    ]
    return Table(caption, (first, *labels, "all"), tuple(body))


def account_table(accounts: Sequence[DomainAccount]) -> Table:
    """Kept, cut, left out and refused."""
    rows = [
        (
            f"{account.store}: {account.domain}",
            *(_rows_and_tokens(tally) for tally in (account.kept, account.cut, account.left_out, account.refused)),
            f"{account.kept.supervised:,}",
            account.reasons or ABSENT,
        )
        for account in accounts
    ]
    return Table(
        "What became of the rows of each domain: rows / tokens. Cut rows are kept without their last turns.",
        ("store: domain", "kept", "cut", "left out", "refused", "supervised tokens kept", "reasons (rows)"),
        tuple(rows),
        frozenset({0, 6}),
    )


def _rows_and_tokens(tally: Tally) -> str:
    return f"{tally.rows:,} / {tally.tokens:,}"


def budget_table(plan: Mapping[str, Any], milestones: Sequence[Mapping[str, Any]]) -> Table:
    """Requested, planned and reached tokens with the hashes that identify them."""
    reached = {record["name"]: record for record in milestones}
    rows = []
    for budget in plan["budgets"]:
        record = reached.get(budget["name"])
        if record is None:
            state = "not reached"
        elif record["content_hash"] == budget["content_hash"]:
            state = f"step {record['plan_step']}"
        else:
            state = "of other data"
        rows.append(
            (
                budget["name"],
                f"{budget['requested']:,}",
                f"{budget['planned']:,}",
                f"{budget['shortfall']:,}",
                f"{budget['supervised']:,}",
                f"{budget['documents']:,}",
                state,
                budget["content_hash"][:HASH_CHARACTERS],
            )
        )
    columns = ("budget", "requested", "planned", "shortfall", "supervised", "documents", "milestone", "content hash")
    caption = f"Nested token budgets (count: {plan['budgets'][0]['count']}). Padding never counts."
    return Table(caption, columns, tuple(rows), frozenset({0, 6, 7}))


def length_table(lengths: Sequence[Lengths]) -> Table:
    """Quantiles per kind and attempt."""
    rows = []
    for entry in lengths:
        attempt = "all" if entry.attempt is None else str(entry.attempt)
        shares = (0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
        cells = (f"{entry.quantile(share):,}" for share in shares)
        rows.append((entry.kind.name.lower(), attempt, f"{len(entry.values):,}", *cells, f"{entry.values.sum():,}"))
    columns = ("kind", "attempt", "turns", "P10", "P25", "median", "P75", "P90", "longest", "tokens in all")
    return Table("Lengths in tokens", columns, tuple(rows))


def completion_table(results: Sequence[EvalResult]) -> Table:
    """Pass rates and lengths of the model's own attempts."""
    larger = sorted({int(k) for result in results for k in result.completions.pass_at} - {1})
    rows = []
    for result in results:
        figures = result.completions
        attempts = sum(sum(outcomes.labels.values()) for outcomes in figures.attempts)
        rows.append(
            (
                result.milestone,
                rate_text(figures.attempts[0].passed_by_now),
                rate_text(figures.attempts[-1].passed_by_now) if len(figures.attempts) > 1 else ABSENT,
                *(percent(figures.pass_at[str(k)]) if str(k) in figures.pass_at else ABSENT for k in larger),
                f"{attempts:,}",
                f"{figures.tokens / attempts:,.0f}",
                f"{figures.cut_off:,}",
            )
        )
    rates = ("first attempts that pass (pass@1)", "conversations that pass", *(f"pass@{k}" for k in larger))
    columns = ("milestone", *rates, "attempts", "tokens each", "cut off")
    return Table("The model's own attempts at held-out tasks", columns, tuple(rows), frozenset({0, 1, 2}))


def mix_text(counts: Mapping[str, int]) -> str:
    """A label mix in one line."""
    return ", ".join(f"{count} {label}" for label, count in in_taxonomy_order(counts).items()) or "none"
