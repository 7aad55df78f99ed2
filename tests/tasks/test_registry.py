"""Bundles are read whole or refused with the file and the key."""

import re
from pathlib import Path

import pytest
import yaml

from ecot.errors import ConfigError, DataError
from ecot.outcomes import Domain, Label
from ecot.tasks.registry import builtin_names, load_bundle, load_tasks

MANIFEST = {
    "title": "A wire",
    "domain": "chip_design",
    "language": "systemverilog",
    "entry": "wire_through",
    "difficulty": "easy",
    "tags": ["combinational"],
    "spec": "Connect `a` to `b`.\n",
    "reference": "reference.sv",
    "hidden": ["testbench.sv"],
    "settings": {"run_seconds": 2},
    "wrong": [{"file": "wrong/cut.sv", "label": "FUNCTIONAL_MISMATCH"}],
}


@pytest.fixture
def write_bundle(tmp_path):
    def write(name="wire_through", remove=(), **changes):
        folder = tmp_path / name
        (folder / "wrong").mkdir(parents=True)
        (folder / "reference.sv").write_text("module wire_through;\n")
        (folder / "testbench.sv").write_text("module testbench;\n")
        (folder / "wrong" / "cut.sv").write_text("module cut;\n")
        values = {key: value for key, value in {**MANIFEST, **changes}.items() if key not in remove}
        (folder / "task.yaml").write_text(yaml.safe_dump(values))
        return folder

    return write


def test_a_bundle_is_read_whole(write_bundle):
    task = load_bundle(write_bundle())
    assert (task.id, task.domain, task.title, task.entry) == (
        "wire_through",
        Domain.CHIP_DESIGN,
        "A wire",
        "wire_through",
    )
    assert task.spec == "Connect `a` to `b`.\n"
    assert task.reference == "module wire_through;\n"
    assert task.hidden == {"testbench.sv": "module testbench;\n"} and task.environment == {}
    assert task.settings == {"run_seconds": 2} and task.tags == ("combinational",)
    (wrong,) = task.wrong
    assert (wrong.name, wrong.code, wrong.label, wrong.subcode) == (
        "cut",
        "module cut;\n",
        Label.FUNCTIONAL_MISMATCH,
        "",
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"remove": ["spec"]}, "task.yaml: key 'spec': Field required"),
        ({"titel": "x"}, "task.yaml: unknown key 'titel'; did you mean 'title'?"),
        ({"difficulty": "brutal"}, "task.yaml: key 'difficulty'"),
        ({"domain": "chips"}, "task.yaml: key 'domain'"),
        ({"hidden": []}, "task.yaml: key 'hidden'"),
        ({"hidden": ["bench.sv"]}, "task.yaml: key 'hidden.0': there is no file 'bench.sv' in the bundle"),
        ({"reference": "../elsewhere.sv"}, "task.yaml: key 'reference': '../elsewhere.sv' leads out of the bundle"),
        ({"wrong": [{"file": "wrong/cut.sv", "label": "WRONG"}]}, "task.yaml: key 'wrong.0.label'"),
        (
            {"wrong": [{"file": "wrong/cut.sv", "label": "PASS"}]},
            "key 'wrong.0.label': a wrong candidate cannot be PASS",
        ),
        (
            {"wrong": [{"file": "wrong/cut.sv", "label": "TIMEOUT", "subcode": "lunch"}]},
            "task.yaml: key 'wrong.0.subcode': subcode 'lunch' does not belong to TIMEOUT; allowed: compile, run",
        ),
        ({"wrong": [MANIFEST["wrong"][0]] * 2}, "task.yaml: key 'wrong': two candidates are called 'cut'"),
    ],
)
def test_a_malformed_bundle_is_refused_with_file_and_key(write_bundle, changes, message):
    folder = write_bundle(**changes)
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        load_bundle(folder)
    assert str(folder) in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: [", "not valid YAML"),
        ("- a\n- b\n", "must hold a mapping of keys, not list"),
        ("", "must hold a mapping of keys, not NoneType"),
    ],
)
def test_a_manifest_that_is_no_mapping_is_refused(write_bundle, text, message):
    folder = write_bundle()
    (folder / "task.yaml").write_text(text)
    with pytest.raises(DataError, match=f"task.yaml: {message}"):
        load_bundle(folder)


def test_files_must_be_text(write_bundle):
    folder = write_bundle()
    (folder / "reference.sv").write_bytes(b"module \xff\n")
    with pytest.raises(DataError, match=r"reference\.sv: not UTF-8: .* at byte 7"):
        load_bundle(folder)
    (folder / "task.yaml").write_bytes(b"title: \xff\n")
    with pytest.raises(DataError, match=r"task\.yaml: not UTF-8"):
        load_bundle(folder)


def test_a_folder_name_must_be_an_id(write_bundle):
    with pytest.raises(DataError, match="only a-z, 0-9 and _"):
        load_bundle(write_bundle("Wire-Through"))


def test_a_source_is_a_folder_of_bundles(write_bundle, tmp_path):
    write_bundle("b_task")
    write_bundle("a_task")
    (tmp_path / "notes").mkdir()
    assert list(load_tasks(str(tmp_path))) == ["a_task", "b_task"]


def test_sources_that_are_none_say_what_there_is(tmp_path):
    with pytest.raises(ConfigError, match=r"'builtin:poetry' is unknown; shipped: builtin:cad_3d, builtin:chip"):
        load_tasks("builtin:poetry")
    with pytest.raises(ConfigError, match=r"is no folder; give one, or a shipped set: builtin:cad_3d"):
        load_tasks(str(tmp_path / "absent"))
    with pytest.raises(DataError, match="holds no task bundle"):
        load_tasks(str(tmp_path))


def test_the_hash_covers_what_can_change_an_outcome(write_bundle, tmp_path):
    folder = write_bundle()
    before = load_bundle(folder).hash
    (folder / "wrong" / "cut.sv").write_text("module other;\n")
    assert load_bundle(folder).hash == before
    for name in ("testbench.sv", "reference.sv"):
        (folder / name).write_text((folder / name).read_text() + "// changed\n")
        after = load_bundle(folder).hash
        assert after != before
        before = after


def test_shipped_bundles_are_package_data():
    """What setuptools packs is named by suffix."""
    import tomllib

    from ecot.tasks import registry

    root = Path(registry.__file__).parents[2]
    patterns = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]["*"]
    for name in builtin_names():
        files = [path for path in (Path(registry.__file__).parent / "bundles" / name).rglob("*") if path.is_file()]
        assert files and all(any(path.match(pattern) for pattern in patterns) for path in files)


def test_one_yaml_file_is_a_bundle_like_a_folder(tmp_path):
    alu = load_tasks("builtin:chip_design")["alu"]
    values = {
        "title": alu.title,
        "domain": "chip_design",
        "language": alu.language,
        "entry": alu.entry,
        "difficulty": alu.difficulty,
        "spec": alu.spec,
        "reference": "reference.sv",
        "hidden": list(alu.hidden),
        "wrong": [{"file": "empty.sv", "label": "COMPILATION_ERROR", "subcode": "elaboration"}],
        "files": {"reference.sv": alu.reference, "empty.sv": "", **alu.hidden},
    }
    (tmp_path / "alu.yaml").write_text(yaml.safe_dump(values))
    (task,) = load_tasks(str(tmp_path)).values()
    assert task.hash == alu.hash
    assert [(wrong.name, wrong.code) for wrong in task.wrong] == [("empty", "")]

    del values["files"]["empty.sv"]
    (tmp_path / "alu.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises(
        DataError, match=r"alu\.yaml: key 'wrong\.0\.file': there is no 'empty\.sv' under the key 'files'"
    ):
        load_tasks(str(tmp_path))
