"""Which rows of the shards make up the store: bad rows are refused, filters leave rows out, and all is accounted for.

Rows are looked at in the order of the sources, so the result does not depend on who made which shard when.
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ecot.data_mix.decontamination import Decontamination
from ecot.data_mix.domain_caps import CappedRows
from ecot.data_mix.filter_config import FilterConfig
from ecot.data_mix.filters import Candidate, ExactDuplicates, LabelFilter, LengthBounds, RowFilter, VerdictFilter
from ecot.data_mix.groups import DOMAINS
from ecot.data_mix.ledger import Fate, Ledger, Tally
from ecot.data_mix.near_duplicates import NearDuplicates
from ecot.data_mix.repeats import Repeats, file_of
from ecot.data_mix.shards import ROWS
from ecot.data_mix.store import ShardFiles
from ecot.errors import DataError
from ecot.outcomes import Domain

SAMPLES = 5
"""Rows shown per reason."""


@dataclass
class Selection:
    """What is kept of some shards."""

    kept: array[int] = field(default_factory=lambda: array("q"))
    """Documents, counted through all shards."""
    ledger: Ledger = field(default_factory=Ledger)
    refused: list[dict[str, str]] = field(default_factory=list)
    """Place and reason of each refused row."""
    samples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    """Reason to a few of the rows that it kept out, with what it found."""


def make_filters(
    config: FilterConfig, decode: Callable[[Sequence[int]], str], scratch: Path, repeats: Repeats
) -> list[RowFilter]:
    """The configured filters, cheap ones first.

    Args:
        config: the `filters` section.
        decode: token ids to text, for filters that look for given texts.
        scratch: a folder for what does not belong into memory.
        repeats: which keys occur more than once.
    """
    filters: list[RowFilter] = []
    if config.verdicts:
        filters.append(VerdictFilter(config))
    if config.with_labels or config.without_labels:
        filters.append(LabelFilter(config))
    if config.min_tokens or config.max_tokens is not None:
        filters.append(LengthBounds(config))
    if config.exact_duplicates:
        filters.append(ExactDuplicates(repeats))
    if config.near_duplicates is not None:
        filters.append(NearDuplicates(config.near_duplicates, scratch))
    if config.decontaminate is not None:
        filters.append(Decontamination(config.decontaminate, decode))
    return filters


def select(shards: Sequence[Path], filters: FilterConfig, decode: Callable[[Sequence[int]], str]) -> Selection:
    """Go through the rows of all shards.

    Args:
        shards: their folders, in order.
        filters: the `filters` section.
        decode: token ids to text, for filters that look for given texts.
    """
    selection, repeats = Selection(), Repeats.of_shards(shards)
    active = make_filters(filters, decode, shards[0].parent if shards else Path(), repeats)
    for each in active:
        if isinstance(each, NearDuplicates):
            for line, candidate, _ in _candidates(shards):
                if not line["problem"]:
                    each.survey(candidate)
    capped = CappedRows(filters.domain_tokens)
    places: dict[tuple[str, str], str] = {}
    for number, (line, candidate, first) in enumerate(_candidates(shards)):
        domain = DOMAINS[line["domain"]] if line["domain"] >= 0 else None
        tally = Tally(1, line["documents"], line["tokens"], line["supervised"])
        lost = Tally(1, line["lost_documents"], line["lost_tokens"], line["lost_supervised"])
        if line["problem"] in ("schema", "rendering"):
            _refuse(selection, domain, tally, line["problem"], line["place"], line["message"])
            continue
        if line["problem"]:
            selection.ledger.record(Fate.LEFT_OUT, domain, lost, line["problem"])
            _sample(selection, line["problem"], f"{line['place']}: {lost.tokens} tokens")
            continue
        reason = next(filter(None, (f.reason_against(candidate) for f in active)), None)
        if reason is not None:
            selection.ledger.record(Fate.LEFT_OUT, domain, tally, reason.name)
            _sample(selection, reason.name, f"{line['place']}: {reason.found}")
            continue
        # Different sources may well number their rows alike.
        if repeats.has_identity(line["place"], line["trajectory_id"]):
            earlier = places.setdefault((file_of(line["place"]), line["trajectory_id"]), line["place"])
        else:
            earlier = line["place"]
        if earlier != line["place"]:
            message = f"{line['place']}: field 'id': {line['trajectory_id']!r} is the id of {earlier} already"
            _refuse(selection, domain, tally, "duplicate_id", line["place"], message)
            continue
        for each in active:
            each.remember(candidate)
        if domain in filters.domain_tokens:
            capped.add(number, line["key"], domain, line["tokens"])
        else:
            _keep(selection, line, domain, first)
    if capped:
        _cap(selection, capped, shards)
    return selection


def _cap(selection: Selection, capped: CappedRows, shards: Sequence[Path]) -> None:
    """Go through the rows once more and keep as many of the domains with a cap as it lets through."""
    fates = capped.fates()
    awaited = next(fates, None)
    for number, (line, _, first) in enumerate(_candidates(shards)):
        if awaited is None or number != awaited[0]:
            continue
        domain = DOMAINS[line["domain"]]
        if awaited[1]:
            _keep(selection, line, domain, first)
        else:
            tally = Tally(1, line["documents"], line["tokens"], line["supervised"])
            selection.ledger.record(Fate.LEFT_OUT, domain, tally, "domain_cap")
            _sample(selection, "domain_cap", f"{line['place']}: {domain} has its {capped.caps[domain]} tokens")
        awaited = next(fates, None)
    selection.kept = array("q", np.sort(selection.kept).tobytes())


def _keep(selection: Selection, line: Mapping[str, Any], domain: Domain | None, first: int) -> None:
    """Keep a row, whose documents are counted from `first`."""
    ledger = selection.ledger
    ledger.record(Fate.KEPT, domain, Tally(1, line["documents"], line["tokens"], line["supervised"]))
    if line["lost_tokens"]:
        lost = Tally(1, line["lost_documents"], line["lost_tokens"], line["lost_supervised"])
        ledger.record(Fate.CUT, domain, lost, "over_long")
        _sample(selection, "over_long", f"{line['place']}: {lost.tokens} of {lost.tokens + line['tokens']} tokens")
    if line["stripped"]:
        ledger.record(Fate.CUT, domain, Tally(1, 0, line["stripped"], line["stripped"]), "stripped_thought")
    if line["unanswered"]:  # what the tools said to a last attempt, where nothing may follow that
        ledger.record(Fate.CUT, domain, Tally(1, 0, line["unanswered"], 0), "after_the_last_turn")
    for edit in line["edits"]:
        reason = f"thought:{edit['name']}"
        ledger.record(Fate.CUT, domain, Tally(1, 0, edit["tokens"], edit["tokens"]), reason)
        _sample(selection, reason, f"{line['place']}: {edit['sample']!r}")
    selection.kept.extend(range(first, first + line["documents"]))


def check_refused(ledger: Ledger, max_refused: float, sidecar: Path) -> None:
    """Stop when too many rows were refused.

    Raises:
        DataError: says how many, and where the reasons lie.
    """
    refused = ledger.total([Fate.REFUSED]).rows
    if refused > max_refused * ledger.rows_read:
        raise DataError(
            f"{refused} of {ledger.rows_read} rows are refused, more than data.max_refused ({max_refused:g}) allows; "
            f"the reasons are in {sidecar}; mend the rows or raise data.max_refused"
        )


def check_lost(ledger: Ledger, max_lost: float, pack_tokens: int) -> None:
    """Stop when over-long trajectories lose too much.

    Raises:
        DataError: says how much.
    """
    lines = [(entry, tally) for entry, tally in ledger.lines.items() if entry.reason == "over_long"]
    lost = sum(tally.supervised for _, tally in lines)
    whole = lost + ledger.total([Fate.KEPT]).supervised
    if lost > max_lost * whole:
        raise DataError(
            f"trajectories longer than data.packing.pack_tokens ({pack_tokens}) lose {lost} of {whole} supervised "
            f"tokens, more than data.max_lost ({max_lost:g}) allows; raise pack_tokens or data.max_lost"
        )


def _candidates(shards: Sequence[Path]) -> Iterator[tuple[dict[str, Any], Candidate, int]]:
    """(line, candidate, number of its first document) of every row."""
    base = number = 0
    for folder in shards:
        with pa.ipc.open_file(pa.memory_map(str(folder / ROWS))) as reader:
            lines = reader.read_all().to_pylist()
        shard, row = ShardFiles(folder), 0
        for line in lines:
            yield line, Candidate(line, shard, row, number), base + row
            row += 0 if line["problem"] else line["documents"]
            number += not line["problem"]
        base += len(shard)


def _refuse(selection: Selection, domain: Any, tally: Tally, reason: str, place: str, message: str) -> None:
    selection.ledger.record(Fate.REFUSED, domain, tally, reason)
    selection.refused.append({"place": place, "reason": message})


def _sample(selection: Selection, reason: str, text: str) -> None:
    if len(selection.samples[reason]) < SAMPLES:
        selection.samples[reason].append(text)
