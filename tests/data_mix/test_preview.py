"""Previews show every token once, in the colour of its kind."""

import html
import re

import pytest
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from ecot.data_mix.prepare import prepare
from ecot.data_mix.preview import TERMINAL_STYLES, pieces, preview_html, preview_text
from ecot.data_mix.token_texts import text_decoder
from ecot.data_mix.tokenizer import load_tokenizer


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
