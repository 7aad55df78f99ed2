"""A world model on disk: an export of its run, with what its predictions need beside the weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from transformers import AutoConfig, AutoTokenizer

from ecot.data_mix.config import ObservationRole, PastThinking
from ecot.data_mix.rendering import Renderer
from ecot.data_mix.sources import hash_file
from ecot.errors import CheckpointError, DataError
from ecot.inference.loading import load_model
from ecot.outcomes import TAXONOMY_VERSION, Domain
from ecot.world_model.asking import Asker, Predictor
from ecot.world_model.calibration import Calibration
from ecot.world_model.config import EndpointOptions
from ecot.world_model.environment import Question
from ecot.world_model.local_model import LocalModel
from ecot.world_model.outcome_text import Verdict
from ecot.world_model.served_model import ServedModel

CARD = "world_model.json"
"""Beside the weights; written by `ecot icwm evaluate`."""


@dataclass(frozen=True)
class Card:
    """How a world model is asked, and how far it is to be believed."""

    question: Question
    observation_role: ObservationRole
    past_thinking: PastThinking
    verdicts: Mapping[Domain, tuple[Verdict, ...]]
    """What it chooses among, by domain."""
    calibration: Calibration
    accuracy: Mapping[Domain, float]
    """Of trusted predictions on held-out tasks, the lower end of its interval: what audits hold a domain to."""
    fingerprints: Mapping[Domain, tuple[str, ...]]
    """The tools whose outcomes it learnt."""
    max_new_tokens: int
    taxonomy_version: str = TAXONOMY_VERSION

    def to_json(self) -> dict[str, Any]:
        """As `world_model.json` holds it."""
        row: dict[str, Any] = _ADAPTER.dump_python(self, mode="json")
        return {**row, "calibration": self.calibration.to_json()}


_ADAPTER = TypeAdapter(Card)


def write_card(folder: Path, card: Card) -> None:
    """Put a card beside the weights; complete or absent."""
    temporary = folder / f".{CARD}.tmp"
    temporary.write_text(json.dumps(card.to_json(), indent=2) + "\n", "utf-8")
    temporary.replace(folder / CARD)


def read_card(folder: Path) -> Card:
    """The card of a world model.

    Raises:
        CheckpointError: there is none, or it is of another taxonomy.
        DataError: it is malformed.
    """
    path = folder / CARD
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist; calibrate the world model first: ecot icwm evaluate CONFIG")
    row = json.loads(path.read_text("utf-8"))
    if row.get("taxonomy_version") != TAXONOMY_VERSION:
        raise CheckpointError(
            f"{path}: it predicts labels of taxonomy {row.get('taxonomy_version')!r}, this version has "
            f"{TAXONOMY_VERSION!r}; execute its trajectories again and train anew"
        )
    calibration = Calibration.from_json(row.pop("calibration"))
    try:
        return _ADAPTER.validate_python({**row, "calibration": calibration})
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(f"{path}: key {'.'.join(map(str, first['loc']))!r}: {first['msg']}") from error


def open_predictor(
    folder: Path, card: Card, *, batch_size: int, device: str, key: str, endpoint: EndpointOptions | None
) -> Predictor:
    """Make a world model ready: load its weights, or reach the server that runs it.

    Args:
        folder: an export.
        card: how it is asked.
        batch_size: candidates at once.
        device: `auto`, `cpu` or `cuda`.
        key: of the configuration that chose the device, which an error names.
        endpoint: a server that runs the same export; None runs it here.

    Raises:
        ConfigError: a GPU is asked for and there is none, or a server's key is not set.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    positions = AutoConfig.from_pretrained(folder).get_text_config(decoder=True).max_position_embeddings
    renderer = Renderer(tokenizer, card.observation_role, card.past_thinking)
    asker = Asker(renderer, card.verdicts, card.question, positions, card.max_new_tokens)
    if endpoint is not None:
        return ServedModel(endpoint, asker)
    # Headers are scored side by side, under a mask of our own, which SDPA takes.
    model = load_model(folder, device, "sdpa", key)
    return LocalModel(model, asker, int(tokenizer.pad_token_id), batch_size)


def identity_of(folder: Path) -> list[Any]:
    """Names and hashes of a model's files: what its predictions depend on."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
    return [[str(path.relative_to(folder)), hash_file(path)] for path in files]
