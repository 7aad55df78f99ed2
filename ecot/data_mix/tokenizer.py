"""The run's tokenizer: trained on its corpus or loaded from a folder, always saved with its chat template."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from ecot.data_mix.config import DataConfig, TemplateChoice, TokenizerConfig, TrainTokenizerConfig
from ecot.data_mix.slow_tokenizers import PieceTable, vocabulary_file
from ecot.data_mix.templates import END_OF_TEXT, END_THINK, IM_END, IM_START, THINK, shipped_template
from ecot.errors import DataError, TemplateError
from ecot.run_paths import RunPaths
from ecot.trajectories import Trajectory

ORIGIN_FILE = "ecot_tokenizer.json"
"""Beside the tokenizer: the key of what it was made from."""

PLAIN_SENTENCEPIECE = ("SentencePieceBackend", "IQuestCoderTokenizer")
"""Slow classes that do no more than split a text at its added tokens and give the rest to a SentencePiece model. The
second is that of the 32B and comes as code beside the model: read by transformers' own class it gives the same ids."""
_NO_CODE = {"trust_remote_code": False}

_SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""How text is cut into words before merges: the pattern of Qwen2.5, single digits, line breaks apart."""


def train_tokenizer(texts: Iterable[str], config: TrainTokenizerConfig) -> Any:
    """Train a byte-level BPE on `texts`; equal texts in equal order give the same tokenizer, byte for byte.

    Special tokens: `<|endoftext|>` (padding), `<|im_start|>`, `<|im_end|>` (end of turn and of sequence); `<think>` and
    `</think>` are single tokens but not special, so that decoded thoughts stay readable. No normaliser: every text
    survives encoding and decoding unchanged.

    Raises:
        DataError: there is no text.
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=config.vocab_size - 2,  # the two thinking tags are added afterwards
        min_frequency=config.min_frequency,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        special_tokens=[END_OF_TEXT, IM_START, IM_END],
        show_progress=False,
    )
    counted = _Counter(texts)
    tokenizer.train_from_iterator(counted, trainer)
    if counted.characters == 0:
        raise DataError("no text to train a tokenizer on: the training trajectories are empty")
    tokenizer.add_tokens([AddedToken(tag, normalized=False, special=False) for tag in (THINK, END_THINK)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token=IM_END,
        pad_token=END_OF_TEXT,
        additional_special_tokens=[IM_START],
        clean_up_tokenization_spaces=False,
    )


class _Counter:
    """Passes texts through and remembers how many characters went by."""

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = texts
        self.characters = 0

    def __iter__(self) -> Iterator[str]:
        for text in self.texts:
            self.characters += len(text)
            yield text


def corpus_texts(trajectories: Iterable[Trajectory]) -> Iterator[str]:
    """The texts of all messages, thinking apart from content."""
    for trajectory in trajectories:
        for message in trajectory.messages:
            if message.reasoning_content:
                yield message.reasoning_content
            if message.content:
                yield message.content


def load_tokenizer(folder: Path) -> Any:
    """Load a tokenizer without touching the network and without running code that came with it.

    Raises:
        DataError: the folder holds no tokenizer, or one that only code of its own could read.
    """
    if not folder.is_dir():
        raise DataError(f"data.tokenizer.path: {folder} is no folder; give one with tokenizer.json in it")
    try:
        tokenizer = _loader(folder).from_pretrained(folder, local_files_only=True, **_NO_CODE)
    except (OSError, ValueError) as error:
        raise DataError(f"data.tokenizer.path: {folder} holds no Hugging Face tokenizer ({error})") from error
    except ImportError as error:
        raise DataError(f"data.tokenizer.path: {folder} needs a package that is missing ({error})") from error
    if not tokenizer.is_fast:
        _check_slow(tokenizer, folder)
    return tokenizer


def _loader(folder: Path) -> Any:
    """The class that reads a tokenizer. The general one, which our own tokenizers name, needs no torch: without it a
    process that tokenises starts in a third of the time."""
    name = _settings(folder).get("tokenizer_class")
    if name in ("TokenizersBackend", "PreTrainedTokenizerFast"):
        return PreTrainedTokenizerFast
    if name in PLAIN_SENTENCEPIECE and not (folder / "tokenizer.json").is_file():
        from transformers.tokenization_utils_sentencepiece import SentencePieceBackend

        return SentencePieceBackend
    from transformers import AutoTokenizer

    return AutoTokenizer


def _settings(folder: Path) -> dict[str, Any]:
    path = folder / "tokenizer_config.json"
    return json.loads(path.read_text("utf-8")) if path.is_file() else {}


def _check_slow(tokenizer: Any, folder: Path) -> None:
    """Refuse what would not be read as its own code reads it, and what cannot be found again in a text."""
    settings = _settings(folder)
    if settings.get("add_prefix_space"):
        raise DataError(
            f"data.tokenizer.path: {folder} asks for add_prefix_space, which a SentencePiece model here lacks"
        )
    ids = tokenizer.get_added_vocab()
    for number, token in settings.get("added_tokens_decoder", {}).items():
        if ids.get(token["content"]) != int(number):
            raise DataError(
                f"data.tokenizer.path: {folder} gives {token['content']!r} the id {number}, and its model of pieces "
                f"{ids.get(token['content'])}; is tokenizer.model the one that belongs to it?"
            )
    PieceTable(tokenizer)
    # Saved again it is a tokenizer of transformers, which needs no code of its own any more.
    tokenizer.init_kwargs.pop("auto_map", None)


def set_template(tokenizer: Any, config: DataConfig) -> None:
    """Give the tokenizer the run's chat template, in place.

    Raises:
        TemplateError: `base` is asked for and there is none, or `shipped` and the ChatML tokens are missing.
    """
    if config.template is TemplateChoice.BASE:
        if not tokenizer.chat_template:
            raise TemplateError("data.template: base, but the tokenizer has no chat template; set template: shipped")
        return
    added = tokenizer.get_added_vocab()
    missing = [token for token in (IM_START, IM_END) if token not in added]
    if missing:
        raise TemplateError(
            f"data.template: shipped needs the tokens {IM_START} and {IM_END}, and the tokenizer lacks "
            f"{' and '.join(missing)}; set template: base, or add the tokens (and rows to the embeddings)"
        )
    tokenizer.chat_template = shipped_template(config.observation_role, config.past_thinking)
    tokenizer.eos_token = IM_END
    if tokenizer.pad_token is None:
        tokenizer.pad_token = END_OF_TEXT if END_OF_TEXT in added else IM_END


def save_tokenizer(tokenizer: Any, folder: Path, key: str) -> None:
    """Write the tokenizer with its template; complete or absent. `key` says what it was made from."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    shutil.rmtree(temporary, ignore_errors=True)
    tokenizer.save_pretrained(temporary)
    (temporary / ORIGIN_FILE).write_text(json.dumps({"key": key}) + "\n", "utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    os.replace(temporary, folder)


def prepare_tokenizer(config: DataConfig, folder: Path, texts: Callable[[], Iterable[str]], corpus_hash: str) -> Any:
    """The run's tokenizer under `folder`, made if it is not there yet or was made from something else.

    Args:
        config: the `data` section.
        folder: where it is kept (`RunPaths.tokenizer`).
        texts: gives the corpus; called only when a tokenizer must be trained.
        corpus_hash: stands for the corpus in the key.
    """
    if is_prepared(config, folder, corpus_hash):
        return load_tokenizer(folder)
    if config.tokenizer.train is not None:
        tokenizer = train_tokenizer(texts(), config.tokenizer.train)
    else:
        assert config.tokenizer.path is not None
        tokenizer = load_tokenizer(config.tokenizer.path)
    set_template(tokenizer, config)
    save_tokenizer(tokenizer, folder, _key(config, corpus_hash))
    return load_tokenizer(folder)


def is_prepared(config: DataConfig, folder: Path, corpus_hash: str) -> bool:
    """Whether `folder` holds the tokenizer that `prepare_tokenizer` would make."""
    origin = folder / ORIGIN_FILE
    return origin.is_file() and json.loads(origin.read_text("utf-8"))["key"] == _key(config, corpus_hash)


def tokenizer_path(_config: TokenizerConfig, paths: RunPaths) -> Path:
    """Where the run's tokenizer lies once prepared: always in the run's folder, with the template that it trains on."""
    return paths.tokenizer


def tokenizer_hash(tokenizer: Any) -> str:
    """SHA-256 over everything that decides ids and text: vocabulary, merges, special tokens, chat template."""
    if tokenizer.is_fast:
        vocabulary = tokenizer.backend_tokenizer.to_str()
    else:
        added = {index: str(token) for index, token in sorted(tokenizer.added_tokens_decoder.items())}
        vocabulary = json.dumps([hashlib.sha256(vocabulary_file(tokenizer).read_bytes()).hexdigest(), added])
    parts = [vocabulary, tokenizer.chat_template, str(tokenizer.pad_token_id)]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _key(config: DataConfig, corpus_hash: str) -> str:
    parts = [
        "1",  # raise when the way of training changes
        config.template,
        shipped_template(config.observation_role, config.past_thinking),
        config.tokenizer.model_dump_json(),
    ]
    if config.tokenizer.train is not None:
        parts.append(corpus_hash)
    else:
        assert config.tokenizer.path is not None
        for path in sorted(config.tokenizer.path.glob("*")):
            if path.is_file():
                parts.append(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}")
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
