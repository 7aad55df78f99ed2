"""Tasks from bundles: `task.yaml` with a folder of files (reference, hidden tests, wrong candidates), or one YAML."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field

from ecot.config import Config, validate_config
from ecot.errors import ConfigError, DataError
from ecot.outcomes import Domain, Label, check_outcome
from ecot.tasks.bundle import Task, WrongCandidate

BUILTIN_PREFIX = "builtin:"
MANIFEST = "task.yaml"

_BUNDLES = Path(__file__).parent / "bundles"
_ID = re.compile(r"[a-z0-9_]+")


class WrongEntry(Config):
    """A candidate that must fail, as `task.yaml` lists it."""

    file: str
    """Path inside the bundle; the file's stem is the candidate's name."""
    label: Label
    """What the backend must say."""
    subcode: str = ""
    """One of the label's subcodes, or nothing."""


class Manifest(Config):
    """What `task.yaml` holds."""

    title: str = Field(min_length=1)
    """A few words for tables."""
    domain: Domain
    """Which backend runs it."""
    language: str = Field(min_length=1)
    """Language of the answer, as a Markdown fence names it."""
    entry: str = Field(min_length=1)
    """The module, function or script that the harness calls."""
    difficulty: Literal["easy", "medium", "hard"]
    """How hard the task is for its kind."""
    tags: tuple[str, ...] = ()
    """For the prompt router and for reports."""
    spec: str = Field(min_length=1)
    """What is asked, complete."""
    reference: str
    """File with a solution that passes."""
    hidden: tuple[str, ...] = Field(min_length=1)
    """Files with the tests."""
    environment: tuple[str, ...] = ()
    """Files that a candidate is built with and may see."""
    settings: dict[str, Any] = Field(default_factory=dict)
    """What the backend needs besides."""
    wrong: tuple[WrongEntry, ...] = ()
    """Candidates that must fail, and how."""
    files: dict[str, str] = Field(default_factory=dict)
    """Name to text of all files, when the bundle is one YAML file; in a folder's `task.yaml` it stays empty."""


@dataclass(frozen=True)
class _Bundle:
    """Where a bundle's files come from."""

    place: Path
    """The manifest, for messages."""
    folder: Path | None
    """None if the manifest holds all files."""
    manifest: Manifest

    def read(self, name: str, key: str) -> str:
        if self.folder is None:
            if name not in self.manifest.files:
                raise DataError(f"{self.place}: key '{key}': there is no {name!r} under the key 'files'")
            return self.manifest.files[name]
        path = self.folder / name
        if not path.resolve().is_relative_to(self.folder.resolve()):
            raise DataError(f"{self.place}: key '{key}': {name!r} leads out of the bundle")
        if not path.is_file():
            raise DataError(f"{self.place}: key '{key}': there is no file {name!r} in the bundle")
        try:
            return path.read_text("utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8: {error.reason} at byte {error.start}") from error

    def read_all(self, names: tuple[str, ...], key: str) -> dict[str, str]:
        return {name: self.read(name, f"{key}.{index}") for index, name in enumerate(names)}

    def read_wrong(self, index: int, entry: WrongEntry) -> WrongCandidate:
        key = f"wrong.{index}"
        try:
            check_outcome(entry.label, entry.subcode)
        except DataError as error:
            raise DataError(f"{self.place}: key '{key}.subcode': {error}") from error
        if entry.label in (Label.PASS, Label.TOOL_ERROR):
            raise DataError(f"{self.place}: key '{key}.label': a wrong candidate cannot be {entry.label}")
        return WrongCandidate(Path(entry.file).stem, self.read(entry.file, f"{key}.file"), entry.label, entry.subcode)


def builtin_names() -> list[str]:
    """The task sets shipped with the package, without `builtin:`."""
    return sorted(path.name for path in _BUNDLES.iterdir() if path.is_dir())


def load_tasks(source: str) -> dict[str, Task]:
    """Read every bundle of a source, ordered by id.

    Args:
        source: `builtin:NAME` for a set shipped with the package, otherwise a folder that holds bundles.

    Raises:
        ConfigError: there is no such source.
        DataError: a bundle is malformed; the message names the file and the key.
    """
    root = _find_source(source)
    places = [path.parent for path in root.glob(f"*/{MANIFEST}")] + list(root.glob("*.yaml"))
    if not places:
        raise DataError(f"{root}: holds no task bundle (a folder with a {MANIFEST}, or a YAML file)")
    tasks: dict[str, Task] = {}
    for task in map(load_bundle, sorted(places, key=lambda place: place.stem)):
        if task.id in tasks:
            raise DataError(f"{root}: both a folder and a YAML file are called {task.id!r}")
        tasks[task.id] = task
    return tasks


def load_bundle(path: Path) -> Task:
    """Read one bundle; the name of its folder, or of its YAML file without the suffix, is the task's id.

    Raises:
        DataError: names the file and the key.
    """
    folder = path if path.is_dir() else None
    place = path / MANIFEST if folder is not None else path
    name = path.name if folder is not None else path.stem
    if not _ID.fullmatch(name):
        raise DataError(f"{path}: a bundle's name is the task's id and may hold only a-z, 0-9 and _")
    manifest = _read_manifest(place)
    if folder is not None and manifest.files:
        raise DataError(f"{place}: key 'files': only a bundle of one YAML file holds its files itself")
    bundle = _Bundle(place, folder, manifest)
    candidates = [bundle.read_wrong(index, item) for index, item in enumerate(manifest.wrong)]
    names = [candidate.name for candidate in candidates]
    if repeated := {candidate for candidate in names if names.count(candidate) > 1}:
        raise DataError(f"{place}: key 'wrong': two candidates are called {sorted(repeated)[0]!r}")
    return Task(
        id=name,
        domain=manifest.domain,
        title=manifest.title,
        spec=manifest.spec.strip() + "\n",
        language=manifest.language,
        reference=bundle.read(manifest.reference, "reference"),
        entry=manifest.entry,
        environment=bundle.read_all(manifest.environment, "environment"),
        hidden=bundle.read_all(manifest.hidden, "hidden"),
        settings=manifest.settings,
        tags=manifest.tags,
        difficulty=manifest.difficulty,
        wrong=tuple(candidates),
    )


def _find_source(source: str) -> Path:
    if source.startswith(BUILTIN_PREFIX):
        name = source.removeprefix(BUILTIN_PREFIX)
        if name not in builtin_names():
            raise ConfigError(f"task source {source!r} is unknown; shipped: {_listed(builtin_names())}")
        return _BUNDLES / name
    root = Path(source)
    if not root.is_dir():
        raise ConfigError(
            f"task source {source!r} is no folder; give one, or a shipped set: {_listed(builtin_names())}"
        )
    return root


def _listed(names: Iterable[str]) -> str:
    return ", ".join(BUILTIN_PREFIX + name for name in names)


def _read_manifest(place: Path) -> Manifest:
    try:
        values = yaml.safe_load(place.read_text("utf-8"))
    except yaml.YAMLError as error:
        raise DataError(f"{place}: not valid YAML: {error}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: not UTF-8: {error.reason} at byte {error.start}") from error
    if not isinstance(values, dict):
        raise DataError(f"{place}: must hold a mapping of keys, not {type(values).__name__}")
    try:
        return validate_config(Manifest, values, str(place))
    except ConfigError as error:
        raise DataError(str(error)) from error
