"""Previews show every token once, in the colour of its kind."""

import html
import io
import re
from dataclasses import replace

import pytest
import yaml
from rich.cells import cell_len
from rich.console import Console
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast
from typer.testing import CliRunner

from ecot.cli.main import app
from ecot.data_mix.loss_rules import LossRule
from ecot.data_mix.loss_weights import LossWeights
from ecot.data_mix.prepare import prepare
from ecot.data_mix.preview import TERMINAL_STYLES, choose, legend, pieces, preview_html, preview_text
from ecot.data_mix.token_texts import text_decoder
from ecot.data_mix.tokenizer import load_tokenizer
from ecot.errors import DataError
from ecot.run_paths import RunPaths
from ecot.segments import Kind
from ecot.trajectory_io import write_trajectories


@pytest.fixture
def shown(run_paths, data_config):
    prepared = prepare(data_config(), run_paths, seed=1)
    return prepared.train, load_tokenizer(run_paths.tokenizer)


def test_pieces_are_the_document(shown):
    store, tokenizer = shown
    for index in range(0, len(store), 7):
        document = store[index]
        parts = list(pieces(document, tokenizer))
        assert "".join(piece.text for piece in parts) == tokenizer.decode(document.ids)
        assert sum(piece.tokens for piece in parts) == len(document)
        by_kind = {kind: sum(p.tokens for p in parts if p.kind is kind) for kind in TERMINAL_STYLES}
        assert list(by_kind.values()) == store.kind_counts[index].tolist()
        assert any(piece.tokens > 1 for piece in parts)  # the words of the corpus hold characters of several tokens


def test_the_terminal_shows_text_in_the_colour_of_its_kind(shown):
    store, tokenizer = shown
    text = preview_text(store[0], tokenizer, mark_tokens=True)
    first_line, _, body = text.plain.partition("\n")
    assert body == tokenizer.decode(store[0].ids)
    assert f"{len(store[0])} tokens" in first_line and "PASS" in first_line
    thought = text.plain.index("<think>")
    assert any(span.start <= thought < span.end and "cyan" in str(span.style) for span in text.spans)


def test_html_holds_the_whole_text_escaped(shown):
    store, tokenizer = shown
    page = preview_html([store[0]], tokenizer)
    body = re.search(r"<pre[^>]*>(.*)</pre>", page, re.DOTALL)[1]
    assert html.unescape(re.sub(r"</?span[^>]*>", "", body)) == tokenizer.decode(store[0].ids)
    assert "<|im_start|>" not in page and "&lt;|im_start|&gt;" in page
    assert re.findall(r'title="(\w+), attempt 1', page)[:2] == ["thinking", "answer"]


NASTY = "a\x1b[31mred\x1b]0;title\x07b\rc\x9b2Jd\u202ee\u2028f\x00g\u200dh\ti [bold]x[/bold]"
ESCAPED = r"a\x1b[31mred\x1b]0;title\x07b\rc\x9b2Jd\u202ee\u2028f\x00g" + "\u200dh" + "{tab}i [bold]x[/bold]"


@pytest.fixture
def nasty(tmp_path, data_config, make_trajectory):
    """A store whose texts hold what would command a terminal."""
    first = make_trajectory(1)
    question = replace(first.messages[1], content=f"{NASTY}\n{'x' * 300} {'word ' * 60}")
    first = replace(first, id="evil\x1b[2J", messages=(first.messages[0], question, *first.messages[2:]))
    paths = RunPaths(tmp_path / "run")
    write_trajectories(paths.trajectories / "train.jsonl", [first, *(make_trajectory(n) for n in range(2, 60))])
    config = data_config(packing={"pack_tokens": 2048, "global_batch_tokens": 2048})
    prepared = prepare(config, paths, seed=1)
    return prepared.train, load_tokenizer(paths.tokenizer)


def printed(text, **options):
    stream = io.StringIO()
    Console(file=stream, width=80, highlight=False, **options).print(text)
    return stream.getvalue()


def test_control_characters_in_the_data_are_shown_and_not_obeyed(nasty):
    store, tokenizer = nasty
    text = printed(preview_text(store[0], tokenizer), force_terminal=True, color_system="standard")
    without_styles = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2028]", without_styles)
    plain = preview_text(store[0], tokenizer).plain
    assert ESCAPED.format(tab="\t") in plain and r"evil\x1b[2J" in plain
    page = preview_html([store[0]], tokenizer)
    assert "\x1b" not in page and r"\x1b[31mred" in page


def test_80_columns_without_colours_are_enough(nasty):
    store, tokenizer = nasty
    lines = printed(preview_text(store[0], tokenizer)).splitlines()
    assert max(cell_len(line) for line in lines) <= 80 and len(lines) > 10
    assert "".join(lines).count("x") >= 300  # long words are broken, not cut
    assert "\x1b" not in printed(legend())


def test_weights_are_counted_and_shade_the_colours(shown):
    store, tokenizer = shown
    document = next(document for document in store if len(document.attempt_labels) == 2)
    rules = [LossRule(factor=0.3, failed=True, kinds=["answer"]), LossRule(factor=1.5, after_failure=True)]
    weights = LossWeights({Kind.THINKING: 1.0, Kind.ANSWER: 1.0}, rules).of_runs(document)
    text = preview_text(document, tokenizer, weights)
    totals = {kind: sum(r.length for r in document.runs if r.kind is kind) for kind in TERMINAL_STYLES}
    line = text.plain.splitlines()[1]
    found = re.findall(r"(\w+) (\d+) at ([\d.]+)", line)
    assert {(kind, float(weight)) for kind, _, weight in found} == {
        ("thinking", 1.0),
        ("thinking", 1.5),
        ("answer", 0.3),
        ("answer", 1.5),
        ("observation", 0.0),
    }
    for kind, total in totals.items():
        if kind is not Kind.PROMPT:
            assert sum(int(count) for name, count, _ in found if name == kind.name.lower()) == total
    styles = {str(span.style) for span in text.spans}
    assert {s for s in styles if "cyan" in s} == {"not bold bright_cyan", "not bold bold bright_cyan"}
    assert {s for s in styles if "green" in s} == {"not bold green", "not bold bold bright_green"}
    assert {s for s in styles if "yellow" in s} == {"not bold dim yellow"}
    page = preview_html([document], tokenizer, [weights])
    assert re.findall(r'title="answer, attempt \d, \d+ tokens, weight ([\d.]+)"', page) == ["0.3", "1.5"]
    alphas = [float(a) for a in re.findall(r"rgba\(120,220,120,([\d.]+)\)", page)]
    assert alphas[1] < alphas[2]  # after that of the legend


def test_documents_are_chosen_by_number_or_trajectory(shown):
    store, _ = shown
    assert [d.trajectory_id for d in choose(store, 3, 2)] == [store[3].trajectory_id, store[4].trajectory_id]
    assert len(choose(store, len(store) - 1, 5)) == 1
    assert [d.trajectory_id for d in choose(store, 0, 1, "trajectory-7")] == ["trajectory-7"]
    with pytest.raises(DataError, match="no document of a trajectory with id 'x'"):
        choose(store, 0, 1, "x")
    with pytest.raises(DataError, match="the store has"):
        choose(store, len(store), 1)


def test_pieces_of_a_fast_sentencepiece_vocabulary_keep_their_spaces():
    """Its decoder drops the space before a first word: decoded one by one, all words would run together."""
    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.normalizer = normalizers.Replace(Regex(" "), "\u2581")
    backend.pre_tokenizer = pre_tokenizers.Split(Regex("\u2581+"), "merged_with_next")
    backend.decoder = decoders.Sequence([decoders.Replace("\u2581", " "), decoders.Fuse(), decoders.Strip(" ", 1, 0)])
    text = "a  counter with a reset\n  counts the clock"
    backend.train_from_iterator([text] * 3, trainers.BpeTrainer(vocab_size=60, special_tokens=["<unk>"]))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    read = text_decoder(tokenizer)
    parts = [read(ids, n, n + 1) for n in range(len(ids))]
    assert "".join(parts) == text == tokenizer.decode(ids)
    assert "".join(tokenizer.decode([token]) for token in ids) != text and len(parts) == 8


def test_the_command_prints_in_80_columns_and_writes_a_page(tmp_path, run_paths):
    config = {
        "name": "run",
        "run_dir": str(run_paths.root),
        "data": {
            "tokenizer": {"train": {"vocab_size": 700}},
            "budgets": [{"name": "a", "tokens": 4000}],
            "packing": {"pack_tokens": 512, "global_batch_tokens": 2048},
        },
        "train": {"loss": {"answer": 0.25}},
    }
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
    runner = CliRunner(env={"COLUMNS": "80", "TERM": "xterm"})
    result = runner.invoke(app, ["preview", str(tmp_path / "run.yaml"), "--rows", "2"])
    assert result.exit_code == 0, result.output
    assert "kinds:  prompt   thinking   answer   observation" in result.output
    assert re.search(r"weights: thinking \d+ at 1, answer \d+ at 0.25", result.output.replace("\n", " "))
    assert result.output.count("<|im_start|>system") == 2
    assert max(cell_len(line) for line in result.output.splitlines()) <= 80
    page = tmp_path / "out" / "page.html"
    result = runner.invoke(app, ["preview", str(tmp_path / "run.yaml"), "--id", "trajectory-5", "--html", str(page)])
    assert result.exit_code == 0, result.output
    assert "trajectory-5" in page.read_text("utf-8") and "weight 0.25" in page.read_text("utf-8")
