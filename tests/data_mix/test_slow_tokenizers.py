"""SentencePiece models without a fast form, as the 32B has one: ids of the whole text, segments exact, or refused.

What breaks elsewhere: tools that need character offsets refuse such tokenizers or convert them, and the conversion
splits words otherwise than the model that was trained; spans tokenised one by one get other ids than at inference.
"""

import io
import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecot.data_mix.config import ObservationRole, PastThinking, SourceConfig
from ecot.data_mix.encoder import TextEncoder
from ecot.data_mix.prepare import prepare
from ecot.data_mix.preview import pieces
from ecot.data_mix.rendering import Renderer
from ecot.data_mix.slow_tokenizers import PieceTable
from ecot.data_mix.templates import shipped_template
from ecot.data_mix.tokenizer import corpus_texts, load_tokenizer, save_tokenizer, tokenizer_hash
from ecot.errors import DataError
from ecot.run_paths import RunPaths
from ecot.segments import Kind
from ecot.trajectories import Message, Role
from ecot.trajectory_io import write_trajectories

spm = pytest.importorskip("sentencepiece", reason="needs the package sentencepiece")
ADDED = ["<CLS>", "<EOD>", "<|im_start|>", "<|im_end|>", "<|fim_prefix|>", "<|endoftext|>"]
OWN_CODE = """
import sentencepiece
from transformers.tokenization_utils import PreTrainedTokenizer


class IQuestCoderTokenizer(PreTrainedTokenizer):
    vocab_files_names = {"vocab_file": "tokenizer.model"}

    def __init__(self, vocab_file, **options):
        self.vocab_file = vocab_file
        self.sp_model = sentencepiece.SentencePieceProcessor()
        self.sp_model.Load(vocab_file)
        super().__init__(**options)

    @property
    def vocab_size(self):
        return self.sp_model.get_piece_size()

    def get_vocab(self):
        return {self.convert_ids_to_tokens(i): i for i in range(self.vocab_size)} | self.added_tokens_encoder

    def _tokenize(self, text):
        return self.sp_model.encode(text, out_type=str)

    def _convert_token_to_id(self, token):
        return self.sp_model.piece_to_id(token)

    def _convert_id_to_token(self, index):
        return self.sp_model.IdToPiece(index)
"""
"""The public form of the 32B's tokenizer: a class of its own around a SentencePiece model, kept beside it."""


def write_model(folder, texts, **options):
    """A SentencePiece model with the 32B's settings: bytes for unknown characters, white space kept."""
    model = io.BytesIO()
    values = {
        "vocab_size": 600,
        "model_type": "bpe",
        "byte_fallback": True,
        "remove_extra_whitespaces": False,
        "normalization_rule_name": "identity",
        "hard_vocab_limit": False,
        "add_dummy_prefix": False,
        **options,
    }
    lines = [line for text in texts for line in text.splitlines(keepends=True)]
    spm.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=model, minloglevel=2, **values)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.model").write_bytes(model.getvalue())
    size = spm.SentencePieceProcessor(model_proto=model.getvalue()).get_piece_size()
    flags = {"lstrip": False, "rstrip": False, "normalized": False, "single_word": False, "special": True}
    added = dict(enumerate(["<unk>", "<s>", "</s>"])) | dict(enumerate(ADDED, start=size))
    settings = {
        "added_tokens_decoder": {str(index): {"content": text, **flags} for index, text in added.items()},
        "additional_special_tokens": ["<|im_start|>", "<|im_end|>", "<|fim_prefix|>"],
        "auto_map": {"AutoTokenizer": ["tokenization_iquestcoder.IQuestCoderTokenizer", None]},
        "add_bos_token": False,
        "add_prefix_space": False,
        "bos_token": "<s>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": "<unk>",
        "legacy": True,
        "tokenizer_class": "IQuestCoderTokenizer",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="module")
def folders(tmp_path_factory, trajectories):
    """Folders of a model without and with a space before every text."""
    base, texts = tmp_path_factory.mktemp("spm"), list(corpus_texts(trajectories))
    return {
        "plain": write_model(base / "plain", texts),
        "dummy_prefix": write_model(base / "dummy_prefix", texts, add_dummy_prefix=True),
    }


@pytest.fixture(params=["plain", "dummy_prefix"])
def slow(request, folders):
    return load_tokenizer(folders[request.param])


@pytest.fixture
def renderer(slow):
    slow.chat_template = shipped_template(ObservationRole.TOOL, PastThinking.KEEP)
    return Renderer(slow, ObservationRole.TOOL, PastThinking.KEEP)


def segments(renderer, messages):
    (encoded,) = renderer.encode([renderer.render(messages)])
    assert not isinstance(encoded, DataError), encoded
    found, begin = [], 0
    for run in encoded.runs:
        ids = encoded.ids[begin : begin + run.length].tolist()
        found.append((b"".join(renderer.encoder._pieces.bytes[i] for i in ids), run.kind, run.attempt))
        begin += run.length
    return encoded, found


CONVERSATION = (
    Message(Role.USER, "Ein Zähler, größe 8 🚀"),
    Message(Role.ASSISTANT, "```\n  assign  y = 値;\n```", "Reset the  counter.\n\nThen."),
    Message(Role.OBSERVATION, "syntax error"),
    Message(Role.ASSISTANT, "good", "A latch."),
)


def test_segments_of_a_slow_tokenizer_are_exact(renderer):
    encoded, found = segments(renderer, CONVERSATION)
    text = renderer.render(CONVERSATION).text
    assert encoded.ids.tolist() == renderer.tokenizer(text, add_special_tokens=False)["input_ids"]
    assert encoded.straddling == 0
    space = b" " if renderer.encoder._pieces.prefix else b""  # belongs to the text that follows it
    head = b"<|im_start|>" + space
    assert found == [
        (head + "user\nEin Zähler, größe 8 🚀<|im_end|>".encode() + space + b"\n" + head + b"assistant\n", 0, 0),
        (b"<think>\nReset the  counter.\n\nThen.\n</think>\n\n", Kind.THINKING, 1),
        ("```\n  assign  y = 値;\n```<|im_end|>".encode(), Kind.ANSWER, 1),
        (space + b"\n" + head + b"tool\n", Kind.PROMPT, 1),
        (b"syntax error", Kind.OBSERVATION, 1),
        (b"<|im_end|>" + space + b"\n" + head + b"assistant\n", Kind.PROMPT, 1),
        (b"<think>\nA latch.\n</think>\n\n", Kind.THINKING, 2),
        (b"good<|im_end|>", Kind.ANSWER, 2),
        (space + b"\n", Kind.PROMPT, 2),
    ]
    for turn in (1, 3):
        prompt = renderer.token_ids(renderer.generation_prompt(CONVERSATION[:turn]))
        assert encoded.ids[: len(prompt)].tolist() == prompt


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=24) | st.lists(
    st.sampled_from(
        ["<|im_start|>", "<|im_end|>", "\n", "  ", " ", "value", "größe", "🚀", "\t", "<0x41>", "\x00", "é"]
    ),
    max_size=10,
).map("".join)


@pytest.fixture(scope="module")
def encoders(folders):
    return {name: TextEncoder(load_tokenizer(folder)) for name, folder in folders.items()}


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=TEXTS)
def test_ids_are_those_of_the_whole_text_and_places_those_of_its_pieces(encoders, text):
    for name, encoder in encoders.items():
        (tokenised,) = encoder.encode([text])
        if "\u2581" in text:  # SentencePiece writes spaces with it, so it does not come back
            assert isinstance(tokenised, DataError) and "does not keep this text" in str(tokenised)
            continue
        ids = encoder._pieces.tokenizer(text, add_special_tokens=False)["input_ids"]
        assert tokenised.ids.tolist() == ids == encoder.ids(text)
        assert encoder._pieces.decode(ids) == text
        expected = places_of(encoder._pieces.tokenizer, text, ids, name == "dummy_prefix")
        assert [tuple(place) for place in tokenised.locate(range(len(text)))] == expected


def places_of(tokenizer, text, ids, dummy_prefix):
    """Independent of the code under test: tokens laid along the text one by one."""
    begins, ends, position, after_added = [], [], 0, True
    for token in ids:
        name = tokenizer.convert_ids_to_tokens(token)
        added = token in tokenizer.added_tokens_decoder
        byte = not added and tokenizer.sp_model.is_byte(token)
        length = 1 if byte else len((name if added else name.replace("\u2581", " ")).encode())
        length -= dummy_prefix and after_added and not added
        begins.append(position)
        position += length
        ends.append(position)
        after_added = added
    assert position == len(text.encode())
    places = []
    for index in range(len(text)):
        byte = len(text[:index].encode())
        inside = [n for n in range(len(ids)) if begins[n] < byte < ends[n]]
        places.append((inside[0], True) if inside else (begins.index(byte), False))
    return places


def test_the_32bs_own_class_gives_the_same_ids_and_is_not_run(folders, tmp_path, trajectories):
    """Its code, in the public form, against transformers' own class, which `load_tokenizer` takes in its place."""
    from transformers import AutoTokenizer

    for name, folder in folders.items():
        own = tmp_path / name
        shutil.copytree(folder, own)
        (own / "tokenization_iquestcoder.py").write_text(OWN_CODE)
        with_code = AutoTokenizer.from_pretrained(own, trust_remote_code=True)
        assert type(with_code).__name__ == "IQuestCoderTokenizer"
        loaded = load_tokenizer(own)
        assert type(loaded).__name__ == "SentencePieceBackend"
        texts = [f"<|im_start|>user\n{text}<|im_end|>\n" for text in corpus_texts(trajectories[:20])]
        for text in [*texts, " <|im_end|> a\n\n\tb", "", "<s>🚀</s>"]:
            expected = with_code(text, add_special_tokens=False)["input_ids"]
            assert loaded(text, add_special_tokens=False)["input_ids"] == expected
        assert loaded.added_tokens_decoder == with_code.added_tokens_decoder
        (own / "tokenization_iquestcoder.py").write_text("raise SystemExit('code of a tokenizer was run')")
        load_tokenizer(own)


def test_a_slow_tokenizer_is_saved_with_the_template_and_read_anywhere(folders, tmp_path):
    from transformers import AutoTokenizer

    tokenizer = load_tokenizer(folders["plain"])
    tokenizer.chat_template = "own"
    save_tokenizer(tokenizer, tmp_path / "tok", "key")
    anywhere = AutoTokenizer.from_pretrained(tmp_path / "tok")  # without trust in any code
    assert anywhere.chat_template == "own" and anywhere.eos_token == "<|im_end|>"
    assert tokenizer_hash(load_tokenizer(tmp_path / "tok")) == tokenizer_hash(tokenizer)
    assert "auto_map" not in (tmp_path / "tok" / "tokenizer_config.json").read_text()
    anywhere.chat_template = "other"
    assert tokenizer_hash(anywhere) != tokenizer_hash(tokenizer)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"remove_extra_whitespaces": True}, "if x:\n    y"),
        ({"normalization_rule_name": "nmt_nfkc"}, "ﬁne"),
        ({"byte_fallback": False}, "🚀"),
    ],
)
def test_a_model_that_changes_a_text_is_refused_by_name(tmp_path, trajectories, options, text):
    folder = write_model(tmp_path / "m", list(corpus_texts(trajectories[:30])), **options)
    try:
        tokenizer = load_tokenizer(folder)
    except DataError as error:
        assert "do not spell its texts" in str(error) and "tokenizer.json" in str(error)
        return
    kept, changed = TextEncoder(tokenizer).encode(["plain words", text])
    assert not isinstance(kept, DataError)
    assert isinstance(changed, DataError) and "does not keep this text" in str(changed)


def test_ids_that_the_model_does_not_have_are_refused(folders, tmp_path):
    shutil.copytree(folders["plain"], tmp_path / "m")
    path = tmp_path / "m" / "tokenizer_config.json"
    settings = json.loads(path.read_text())
    path.write_text(json.dumps({**settings, "add_prefix_space": True}))
    with pytest.raises(DataError, match="add_prefix_space"):
        load_tokenizer(tmp_path / "m")
    path.write_text(json.dumps({**settings, "tokenizer_class": "StrangeTokenizer"}))
    with pytest.raises(DataError, match="holds no Hugging Face tokenizer"):
        load_tokenizer(tmp_path / "m")


def test_a_store_and_a_preview_from_a_slow_tokenizer(folders, tmp_path, trajectories, data_config):
    for name, folder in folders.items():
        paths = RunPaths(tmp_path / name)
        write_trajectories(tmp_path / "rows.jsonl", trajectories[:30])
        config = data_config(
            tokenizer={"path": str(folder)},
            sources=[SourceConfig(path=tmp_path / "rows.jsonl").model_dump()],
            budgets=[{"name": "a", "tokens": 3000}],
            packing={"pack_tokens": 2048, "global_batch_tokens": 4096},
        )
        prepared = prepare(config, paths, seed=1)
        tokenizer = load_tokenizer(paths.tokenizer)
        assert len(prepared.train) == 30 and prepared.summary["train"]["straddling"] == 0
        table = PieceTable(tokenizer)
        for document in prepared.train:
            parts = list(pieces(document, tokenizer))
            assert "".join(piece.text for piece in parts) == table.decode(document.ids.tolist())
            assert sum(piece.tokens for piece in parts) == len(document)
