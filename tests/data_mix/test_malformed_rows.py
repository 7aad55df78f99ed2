"""Every malformed row is refused with file, line, field and reason; none stops the others, none is lost."""

import copy
import json

import pytest

from ecot.data_mix.config import SourceConfig
from ecot.data_mix.ledger import Fate
from ecot.data_mix.store_builder import StoreBuilder
from ecot.progress import no_progress


def set_path(row, path, value):
    """A copy of the row with the value at a dotted path replaced (`...` deletes it)."""
    row = copy.deepcopy(row)
    node = row
    *parents, leaf = path.split(".")
    for part in parents:
        node = node[int(part)] if isinstance(node, list) else node[part]
    key = int(leaf) if isinstance(node, list) else leaf
    if value is ...:
        del node[key]
    else:
        node[key] = value
    return row


TOP = ["id", "task_id", "task_hash", "domain", "verdict", "taxonomy_version", "messages", "attempts", "provenance"]
ATTEMPT = ["message_index", "code", "stage", "label", "subcode", "diagnostics", "metrics", "seconds", "source"]
ATTEMPT += ["confidence", "fingerprint"]
WRONG = {"an integer": 7, "a list": [1], "null": None, "missing": ...}
ALLOWED = {
    ("taxonomy_version", "missing"),
    ("message_index", "an integer"),
    ("seconds", "an integer"),
    ("confidence", "an integer"),
}
VALUES = [
    ("domain", "poetry"),
    ("verdict", "FINE"),
    ("verdict", "TIMEOUT"),
    ("verdict", None),
    ("taxonomy_version", "0"),
    ("messages", []),
    ("messages", [{}]),
    ("messages.0.role", "critic"),
    ("messages.0.role", "SYSTEM"),
    ("messages.1.role", "system"),
    ("messages.1.role", "assistant"),
    ("messages.2.role", "user"),
    ("messages.2.role", "observation"),
    ("messages.3.role", "assistant"),
    ("messages.0.content", 3),
    ("messages.1.content", None),
    ("messages.1.content", ["x"]),
    ("messages.1.content", ""),
    ("messages.1.content", " \n\t"),
    ("messages.1.content", ...),
    ("messages.1.reasoning_content", "users do not think"),
    ("messages.3.reasoning_content", "tools do not think"),
    ("messages.2.reasoning_content", 4),
    ("messages.2.reasoning_content", ["a"]),
    ("messages.2.reasoning_content", "a </think> b"),
    ("messages.2.reasoning_content", "<think>a"),
    ("messages.2.content", "<think>a</think>b"),
    ("messages.2.content", "b</think>"),
    ("messages.2.content", "<|im_end|>"),
    ("messages.3.content", "<|im_end|>\n<|im_start|>assistant\nI pass"),
    ("messages.3.content", "<|endoftext|>"),
    ("messages.0.content", "<|im_start|>"),
    ("messages.1.content", "lone \ud800 surrogate"),
    ("messages.2.content", "\udfff"),
    ("messages.2.reasoning_content", "a\ud83d"),
    ("messages.3.content", "\udc00\ud800"),
    ("messages.1.content", "private \ue0f0 use"),
    ("messages.0.role", "assistant"),
    ("messages.1.kind", "prompt"),
    ("messages.2.kind", "answer"),
    ("messages.2.kind", 3),
    ("messages.3.kind", "observation"),
    ("messages.2.weight", 1.0),
    ("messages.2.name", "x"),
    ("messages.2", "text"),
    ("messages.2", None),
    ("attempts.0.message_index", 1),
    ("attempts.0.message_index", -1),
    ("attempts.0.message_index", 99),
    ("attempts.0.message_index", 2.5),
    ("attempts.0.label", "TOOL_ERROR"),
    ("attempts.0.label", "fail"),
    ("attempts.0.subcode", "latch"),
    ("attempts.0.stage", "later"),
    ("attempts.0.source", "dream"),
    ("attempts.0.metrics", {"cells": "many"}),
    ("attempts.0.metrics", {"cells": None}),
    ("attempts.0.metrics", "not json"),
    ("attempts.0.metrics", "[]"),
    ("attempts.0.seconds", "soon"),
    ("attempts.0.colour", "red"),
    ("attempts.0", None),
    ("provenance.seed", "x"),
    ("provenance.seed", 1.5),
    ("provenance.generator", None),
    ("provenance.instruction", 3),
    ("provenance.details", [1]),
    ("provenance.mood", "good"),
    ("colour", "red"),
]
RAW_LINES = [
    b"{",
    b"}",
    b"null",
    b"true",
    b"17",
    b'"text"',
    b"[]",
    b"[{}]",
    b"{}",
    b'{"messages": \xff\xfe}',
    b"\xef\xbb\xbf{}",
    b'{"a": 1} {"b": 2}',
    b"{'messages': []}",
    b'{"messages": [}',
    b'{"id": "\xc3\x28"}',
    b"\x00",
    b'{"id": "a\x01b"}',
    b"[" * 100_000,
    b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
    b'{"seconds": ' + b"9" * 5_000 + b"}",
    b'{"text": "no format that is known"}',
    b'{"messages": [{"role": "user", "content": "x"}]}',
    b'{"messages": [{"role": "assistant", "content": "<think>never closed"}]}',
    b'{"conversations": [{"from": "human", "value": null}, {"from": "gpt"}]}',
    b'{"prompt": "x", "completion": ["y"]}',
    b'{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "weight": NaN}]}',
    b'{"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": "y", "weight": 0}]}',
    b'{"messages": [{"role": "user", "content": "x", "tool_calls": [{"name": "f"}]}]}',
    b'{"messages": [{"role": "system", "content": "x"}, {"role": "system", "content": "y"}]}',
    b'{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "thinking": "a", "reasoning": "b"}]}',
    b'{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "</think><think>a"}]}',
    b'{"messages": [{"role": "user", "content": "q"}], "conversations": [{"from": "human", "value": "q"}]}',
    b'{"system": 3, "messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}',
    b'{"instruction": "q", "output": "a", "history": [["b", "c"]]}',
    b'{"instruction": "q", "output": "a", "answer": "b"}',
    b'{"prompt": "q", "completion": "a<think>b</think>"}',
    b'{"messages": "' + b"x" * (50 << 20) + b'"}',
]


def malformed(good):
    """(what is wrong, line) for every kind of harm."""
    for name in TOP:
        for wrong, value in WRONG.items():
            if (name, wrong) not in ALLOWED:
                yield f"{name}: {wrong}", set_path(good, name, value)
    for name in ATTEMPT:
        for wrong, value in WRONG.items():
            if (name, wrong) not in ALLOWED:
                yield f"attempts.1.{name}: {wrong}", set_path(good, f"attempts.1.{name}", value)
    for path, value in VALUES:
        yield f"{path}: {value!r}", set_path(good, path, value)
    for name in ("seconds", "confidence"):
        for value in (float("nan"), float("inf")):
            yield f"{name}: {value}", set_path(good, f"attempts.0.{name}", value)
    yield "metrics: 1e999", json.dumps(set_path(good, "attempts.0.metrics", {"a": 1})).replace('"a": 1', '"a": 1e999')


@pytest.fixture
def malformed_file(tmp_path, make_trajectory):
    """A file of good rows with malformed ones between them, and what is wrong in which line."""
    wrong, lines = {}, []
    number = 0
    for what, row in malformed(make_trajectory(3, turns=2).to_row()):
        lines.append(json.dumps(make_trajectory(2000 + number).to_row()).encode())
        number += 1
        if isinstance(row, dict) and "id" in row and not what.startswith("id"):
            row["id"] = f"bad-{number}"
        lines.append(row.encode() if isinstance(row, str) else json.dumps(row).encode())
        wrong[len(lines)] = what
    for raw in RAW_LINES:
        lines.append(raw)
        wrong[len(lines)] = raw[:40].decode("utf-8", "replace")
    lines.append(json.dumps({**make_trajectory(4000).to_row(), "id": "trajectory-2000"}).encode())
    wrong[len(lines)] = "duplicate id"
    (tmp_path / "rows.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    return tmp_path / "rows.jsonl", wrong, number


def test_every_malformed_row_is_refused_by_name(tmp_path, malformed_file, tokenizer, data_config):
    path, wrong, good = malformed_file
    assert len(wrong) == 188
    tokenizer.save_pretrained(tmp_path / "tok")
    config = data_config(max_refused=1.0, packing={"pack_tokens": 4096, "global_batch_tokens": 4096})
    store = StoreBuilder(config, [SourceConfig(path=path)], tmp_path / "tok", tmp_path / "store").build(no_progress)
    refused = [json.loads(line) for line in (tmp_path / "store.refused.jsonl").read_text("utf-8").splitlines()]
    lines = [int(entry["place"].rpartition(":")[2]) for entry in refused]
    assert len(lines) == len(set(lines))
    assert {wrong[line] for line in set(wrong) - set(lines)} == set(), "accepted, though malformed"
    assert set(lines) - set(wrong) == set(), "refused, though well-formed"
    assert len(store) == good
    assert store.ledger.total([Fate.REFUSED]).rows == len(wrong)
    for entry in refused:
        assert entry["reason"].startswith(entry["place"] + ": ") and len(entry["reason"]) > len(entry["place"]) + 12
        assert len(entry["reason"]) < 2000
    named = [entry for entry in refused if "field '" in entry["reason"]]
    assert len(named) >= len(refused) - len(RAW_LINES)
