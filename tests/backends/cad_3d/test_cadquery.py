"""The CadQuery backend says of each solid what an engineer would, for the reason that it is so."""

import asyncio
import hashlib
import math
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from ecot.backends.cad_3d import tool
from ecot.backends.registry import make_backend
from ecot.errors import DataError, MissingToolError, ToolError
from ecot.outcomes import Domain, Label, Stage

BOX = "import cadquery as cq\n\nresult = cq.Workplane().box(20, 10, 10)\n"
BOX_SIDES = (-10, 10, -5, 5, -5, 5)


@pytest.fixture
def box(drawn):
    return drawn(BOX, BOX_SIDES)


def verdict(execution):
    return (str(execution.label), execution.subcode)


def test_the_same_part_built_otherwise_passes(execute, flange):
    code = """
import cadquery as cq

plate = cq.Workplane().box(80, 80, 12).translate((0, 0, 6)).edges("|Z").fillet(10)
bore = cq.Workplane("XZ").rect(17.5, 12, centered=False).revolve(360, (0, 0, 0), (0, 1, 0))
part = plate.cut(bore)
for x in (-30, 30):
    for y in (-30, 30):
        for radius, bottom in ((3.3, 0), (5.5, 5.5)):
            drill = cq.Solid.makeCylinder(radius, 12 - bottom, cq.Vector(x, y, bottom))
            part = part.cut(cq.Workplane(drill))
result = part.val()
"""
    outcome = execute(flange, code)
    assert outcome.label is Label.PASS and outcome.stage is Stage.CHECK
    assert outcome.metrics["iou"] == pytest.approx(1, abs=1e-6)
    # 80 x 80 less the corners, the bore, four holes and four counterbores.
    corners = (4 - math.pi) * 100
    area = 6400 - corners - math.pi * (17.5**2 + 4 * 3.3**2)
    volume = 12 * area - 6.5 * 4 * math.pi * (5.5**2 - 3.3**2)
    assert outcome.metrics["volume_mm3"] == pytest.approx(volume, rel=1e-4)
    assert outcome.metrics["solids"] == 1


def test_overlap_volume_and_place_are_told(execute, box):
    outcome = execute(box, BOX + "result = result.cut(cq.Workplane().box(4, 20, 20).translate((9, 0, 0)))\n")
    assert verdict(outcome) == ("FUNCTIONAL_MISMATCH", "")
    assert outcome.metrics["iou"] == pytest.approx(0.85, abs=1e-5)
    assert "volume: 1700 mm3, expected 2000 mm3 (-15.00 %)" in outcome.diagnostics
    assert "bounding box: x -10..7, y -5..5, z -5..5; expected x -10..10" in outcome.diagnostics
    assert "missing material: 300 mm3 in 1 piece: 300 mm3 within x 7..10, y -5..5, z -5..5" in outcome.diagnostics
    assert "centre of mass: (-1.5, 0, 0), expected (0, 0, 0)" in outcome.diagnostics
    assert "surplus" not in outcome.diagnostics


def test_pieces_of_one_size_are_told_in_the_order_of_their_places(execute, box):
    spots = "[(-6, -2), (-6, 2), (6, -2), (6, 2)]"
    corners = f"faces('>Z').workplane().pushPoints({spots}).rect(2, 2).cutThruAll()"
    told = execute(box, BOX.rstrip() + f".{corners}\n").diagnostics
    assert "missing material: 160 mm3 in 4 pieces: 40 mm3 within x -7..-5, y -3..-1" in told
    assert told.index("x -7..-5, y -3..-1") < told.index("x -7..-5, y 1..3") < told.index("x 5..7, y -3..-1")


def test_a_script_may_import_what_was_left_out_of_the_servers_start(execute, box):
    assert execute(box, "import vtk\n\nassert vtk.vtkPolyData().GetNumberOfPoints() == 0\n" + BOX).label is Label.PASS


def test_a_part_in_the_wrong_place_is_told_where_to_go(execute, box):
    outcome = execute(box, BOX + "result = result.translate((0, 0, 5))\n")
    assert outcome.metrics["iou"] == pytest.approx(1 / 3, abs=1e-4)
    assert "moved by (0, 0, -5) it would lie where it should" in outcome.diagnostics
    turned = execute(box, BOX + "result = result.rotate((0, 0, 0), (0, 0, 1), 90)\n")
    assert turned.label is Label.FUNCTIONAL_MISMATCH and "moved by" not in turned.diagnostics


def test_an_operation_without_effect_is_pointed_at(execute, box):
    thin = BOX.replace("box(20, 10, 10)", "box(10, 10, 4)")
    outcome = execute(box, thin + "result = result.faces('>Z').shell(-6)\n")
    assert outcome.label is Label.FUNCTIONAL_MISMATCH
    assert "note: line 4: shell(), perhaps with a wall too thick for the body, left the body as it was" in (
        outcome.diagnostics
    )
    beside = execute(
        box, BOX + "result = result.faces('>Z').workplane().center(50, 0).hole(3).faces('>X').chamfer(1)\n"
    )
    assert "note: line 4: hole() left the body as it was" in beside.diagnostics


@pytest.mark.parametrize(
    ("code", "expected", "said"),
    [
        ("result = cq.Workplane().box(9, 9, 9).edges('|Z').fillet(5)", "kernel_exception", "StdFail_NotDone"),
        ("result = cq.Workplane().rect(5, 5).extrude(0)", "kernel_exception", "candidate.py:2: Standard_Constr"),
        (
            "result = cq.Workplane().polyline([(0, 0), (9, 9), (9, 0), (0, 9)]).close().extrude(3)",
            "invalid",
            "faces intersect",
        ),
        ("result = cq.Workplane().rect(0, 5).extrude(3)", "degenerate", "no volume"),
        (
            "d = cq.Workplane().circle(5).extrude(9)\nresult = d.union(d.translate((10, 0, 0)))",
            "solid_count",
            "2 separate solids, expected 1 separate solid",
        ),
        (
            "d = cq.Workplane().circle(5).extrude(9)\nresult = d.intersect(d.translate((10, 0, 0)))",
            "solid_count",
            "holds no solid",
        ),
        ("result = cq.Workplane().box(9, 9, 9).faces('>Z')", "solid_count", "no solid, but Face"),
        (
            "result = cq.Workplane().box(20, 10, 10).edges('|Z and >X and >Y').chamfer(0.00005)",
            "degenerate",
            "an edge shorter than 0.0001 mm",
        ),
    ],
)
def test_what_the_kernel_does_without_a_word_is_a_label(execute, box, code, expected, said):
    outcome = execute(box, "import cadquery as cq\n" + code + "\n")
    assert verdict(outcome) == ("GEOMETRY_ERROR", expected)
    assert said in outcome.diagnostics


@pytest.mark.parametrize(
    ("code", "expected", "said"),
    [
        ("result = (1,\n", ("COMPILATION_ERROR", "syntax"), "candidate.py:1: SyntaxError: '(' was never closed"),
        ("import cadquery as cq\nresult = cq.Workplane().bocks(1)\n", ("RUNTIME_ERROR", "exception"), "candidate.py:2"),
        ("import no_such_thing\n", ("RUNTIME_ERROR", "exception"), "No module named 'no_such_thing'"),
        ("import cadquery as cq\ncq.Workplane().lineTo(1, 0).extrude(1)\n", ("RUNTIME_ERROR", "exception"), "wires"),
        ("assert 2 == 3, 'no'\n", ("RUNTIME_ERROR", "assertion"), "AssertionError: no"),
        ("part = 1\n", ("RUNTIME_ERROR", "exception"), "sets no variable `result`"),
        ("result = 3\n", ("RUNTIME_ERROR", "exception"), "`result` is of type int"),
        ("x = [0] * 10**12\n", ("MEMORY_FAULT", "out_of_memory"), "out of memory"),
        ("import ctypes\nctypes.string_at(1)\n", ("MEMORY_FAULT", "segv"), "segmentation fault"),
        ("", ("FORMAT_ERROR", "no_code"), "empty"),
    ],
)
def test_errors_of_the_script_are_told_apart(execute, box, code, expected, said):
    outcome = execute(box, code)
    assert verdict(outcome) == expected and said in outcome.diagnostics


def test_addresses_never_show(execute, box):
    outcome = execute(box, "raise ValueError(object())\n")
    assert "<object object at 0x...>" in outcome.diagnostics


def test_a_script_sees_the_tasks_files(execute, drawn):
    code = "import json\nimport cadquery as cq\n\nresult = cq.Workplane().box(*json.load(open('sides.json')))\n"
    task = replace(drawn(code, BOX_SIDES), environment={"sides.json": "[20, 10, 10]"})
    assert execute(task, code).label is Label.PASS and execute(task, BOX).label is Label.PASS


def test_several_bodies_may_be_asked_for(execute, drawn):
    two = "import cadquery as cq\n\nresult = cq.Workplane().pushPoints([(0, 0), (20, 0)]).box(10, 10, 10)\n"
    task = drawn(two.replace("box(10", "rect(10").replace(", 10, 10)", ", 10).extrude(10)"), (-5, 25, -5, 5, 0, 10))
    plan = task.hidden["inspection.yaml"].replace("solids: 1", "solids: 2").replace("[10.0, 0.0, 5.0]", "[1, 1, 1]")
    task = replace(task, hidden={"inspection.yaml": plan})
    assert execute(task, two).label is Label.FUNCTIONAL_MISMATCH
    assert verdict(execute(task, BOX)) == ("GEOMETRY_ERROR", "solid_count")
    assembly = (
        "import cadquery as cq\n\nresult = cq.Assembly()\n"
        "for x in (0, 20):\n    result.add(cq.Workplane().box(10, 10, 10).translate((x, 0, 5)))\n"
    )
    assert execute(task, assembly).label is Label.PASS


def test_a_reference_that_fails_its_inspection_is_refused(execute, drawn):
    for box, said in (((-10, 10, -5, 5, 0, 10), "bounding box"), (BOX_SIDES, "no material at")):
        task = drawn(BOX, box)
        plan = task.hidden["inspection.yaml"]
        if box is BOX_SIDES:
            task = replace(task, hidden={"inspection.yaml": plan.replace("[0.0, 0.0, 0.0]", "[0.0, 0.0, 6.0]", 1)})
        with pytest.raises(ToolError, match=f"task drawn: the reference fails its inspection: .*{said}"):
            execute(task, BOX)


def test_a_reference_that_is_no_solid_is_refused(execute, drawn):
    with pytest.raises(ToolError, match="the reference does not pass on cadquery"):
        execute(drawn("import cadquery as cq\nresult = cq.Workplane().rect(0, 5).extrude(3)\n", BOX_SIDES), BOX)


def test_a_task_that_is_not_sound_is_named(execute, box):
    with pytest.raises(DataError, match="task drawn: domain chip_design cannot run on cadquery"):
        execute(replace(box, domain=Domain.CHIP_DESIGN), BOX)
    with pytest.raises(DataError, match="settings key 'speed'"):
        execute(replace(box, settings={"speed": 1}), BOX)
    with pytest.raises(DataError, match=r"there is no file 'inspection\.yaml'"):
        execute(replace(box, hidden={"x": ""}), BOX)
    with pytest.raises(DataError, match=r"inspection\.yaml: key 'inside'"):
        execute(replace(box, hidden={"inspection.yaml": "box_mm: [0, 1, 0, 1, 0, 1]\nsolids: 1\n"}), BOX)


def test_a_missing_tool_is_named_with_the_remedy(monkeypatch):
    def absent(name):
        raise tool.importlib.metadata.PackageNotFoundError(name)

    tool.cadquery_identity.cache_clear()
    monkeypatch.setattr(tool.importlib.metadata, "version", absent)
    with pytest.raises(
        MissingToolError, match=r"cadquery is not installed; get CadQuery with `pip install 'ecot\[cad\]'`"
    ):
        make_backend("cadquery")
    tool.cadquery_identity.cache_clear()


def test_solids_are_exported_the_same_every_time(cadquery, flange):
    files = asyncio.run(cadquery.export(flange, flange.reference))
    assert files == asyncio.run(cadquery.export(flange, flange.reference))
    assert files["solid.step"].startswith(b"ISO-10303-21;") and b"1970-01-01T00:00:00" in files["solid.step"]
    (num_triangles,) = struct.unpack_from("<I", files["solid.stl"], 80)
    assert num_triangles > 100 and len(files["solid.stl"]) == 84 + 50 * num_triangles
    assert files["solid.png"].startswith(b"\x89PNG")
    assert asyncio.run(cadquery.export(flange, "import cadquery\n")) == {}
    step = files["solid.step"].decode()
    again = replace(flange, environment={"solid.step": step})
    code = "import cadquery as cq\n\nresult = cq.importers.importStep('solid.step')\n"
    assert asyncio.run(cadquery.execute(again, code)).label is Label.PASS


def test_every_judged_solid_may_be_kept(cadquery, flange, tmp_path, monkeypatch):
    monkeypatch.setattr(cadquery, "_artifacts", tmp_path)
    wrong = flange.reference.replace("12", "13")
    for code in (flange.reference, wrong, "import cadquery\n"):
        asyncio.run(cadquery.execute(flange, code))
    names = sorted(path.name for path in (tmp_path / flange.id).iterdir())
    assert len(names) == 6 and {Path(name).suffix for name in names} == {".step", ".stl", ".png"}
    stem = hashlib.sha256(flange.reference.encode()).hexdigest()[:16]
    assert {f"{stem}.png", f"{stem}.step", f"{stem}.stl"} <= set(names)


def test_one_script_leaves_nothing_to_the_next(cadquery, flange):
    """Neither patched libraries nor files."""
    patch = (
        "import cadquery as cq\ncq.Workplane.box = None\ncq.Shape.Volume = lambda *a: 1.0\n"
        "open('/tmp/left', 'w').write('x')\n"
    )
    look = flange.reference + "import os\nassert cq.Workplane.box is not None\nassert not os.path.exists('/tmp/left')\n"

    async def both():
        for _ in range(3):
            first = await cadquery.execute_many([(flange, patch)] * 2)
            second = await cadquery.execute_many([(flange, look)] * 2)
            assert {outcome.label for outcome in first} == {Label.RUNTIME_ERROR}
            assert {outcome.label for outcome in second} == {Label.PASS}

    asyncio.run(both())
