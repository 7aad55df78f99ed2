"""What is said about a solid that is not the one wanted. Lengths in mm, rounded, so that equal solids read equal."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from ecot.backends.cad_3d.exchange import TOLD_PIECES

_LENGTH_DIGITS = 3
_SAME_LENGTH = 0.002
_SAME_VOLUME = 1e-6


def describe_difference(verdict: Mapping[str, Any], comparison: Mapping[str, Any], needed: float) -> str:
    """Lines that say in what the candidate's solid differs from the reference."""
    found, wanted = verdict["candidate"], verdict["reference"]
    by = "" if comparison["method"] == "boolean" else ", estimated on a grid of points"
    lines = [
        "the solid is not the one asked for",
        f"  overlap with it (intersection over union{by}): {show_ratio(comparison['iou'])}; {needed:g} is needed",
    ]
    if not math.isclose(found["volume"], wanted["volume"], rel_tol=_SAME_VOLUME):
        share = 100 * (found["volume"] / wanted["volume"] - 1)
        difference = f"{share:+.2f} %" if abs(share) >= 0.01 else f"{share:+.2g} %"
        lines.append(
            f"  volume: {show_volume(found['volume'])}, expected {show_volume(wanted['volume'])} ({difference})"
        )
    if _differ(found["box"], wanted["box"]):
        lines.append(f"  bounding box: {show_box(found['box'])}; expected {show_box(wanted['box'])}")
    if _differ(found["centre"], wanted["centre"]):
        lines.append(f"  centre of mass: {_point(found['centre'])}, expected {_point(wanted['centre'])}")
    lines += _pieces("missing material", comparison["missing"]) + _pieces("surplus material", comparison["surplus"])
    if hint := _displacement(found, wanted):
        lines.append(hint)
    return "\n".join(lines) + "\n"


def show_volume(volume: float) -> str:
    """Six digits, which is more than a drawing's tolerances and less than the kernel's noise."""
    return f"{_plain(volume, 6)} mm3"


def show_ratio(ratio: float) -> str:
    """Not rounded up, so that what fails is not shown as what would pass; the kernel's noise aside."""
    return f"{math.floor(ratio * 1e6 + 1e-4) / 1e6:.6f}".rstrip("0").ljust(6, "0")


def show_box(box: Sequence[float]) -> str:
    """The box's sides."""
    x0, x1, y0, y1, z0, z1 = (length(value) for value in box)
    return f"x {x0}..{x1}, y {y0}..{y1}, z {z0}..{z1}"


def length(value: float) -> str:
    """A length without needless digits."""
    text = f"{value:.{_LENGTH_DIGITS}f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def _plain(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    places = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    text = f"{value:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _point(values: Sequence[float]) -> str:
    return f"({', '.join(length(value) for value in values)})"


def _differ(first: Sequence[float], second: Sequence[float]) -> bool:
    return any(abs(a - b) > _SAME_LENGTH for a, b in zip(first, second, strict=True))


def _pieces(what: str, pieces: Sequence[Mapping[str, Any]]) -> list[str]:
    # Slivers between two ways to approximate one surface are not worth telling.
    total = sum(piece["volume"] for piece in pieces)
    told = [piece for piece in pieces if piece["volume"] > 0.01 * total]
    if not told:
        return []
    places = "; ".join(
        f"{show_volume(piece['volume'])} within {show_box(piece['box'])}" for piece in told[:TOLD_PIECES]
    )
    more = f"; and {len(told) - TOLD_PIECES} more" if len(told) > TOLD_PIECES else ""
    return [f"  {what}: {show_volume(total)} in {len(told)} piece{'s' * (len(told) > 1)}: {places}{more}"]


def _displacement(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """A hint where the shape seems right and only its place is not."""
    if not math.isclose(found["volume"], wanted["volume"], rel_tol=_SAME_VOLUME):
        return ""
    if not math.isclose(found["area"], wanted["area"], rel_tol=1e-5):
        return ""
    way = [b - a for a, b in zip(found["centre"], wanted["centre"], strict=True)]
    moved = [value + way[index // 2] for index, value in enumerate(found["box"])]
    if max(map(abs, way)) <= _SAME_LENGTH or _differ(moved, wanted["box"]):
        return ""
    return f"  it has the right volume, area and size: moved by {_point(way)} it would lie where it should"
