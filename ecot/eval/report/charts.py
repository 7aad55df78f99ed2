"""Static charts from matplotlib as inline SVG whose colours follow the page.

matplotlib draws with stand-in colours that are then replaced by the style sheet's variables, so one chart serves light
and dark pages. Each chart is drawn twice, for wide and for narrow screens, since text in a scaled drawing would be too
small to read on a phone.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure

from ecot.eval.report.palette import COLOURS

WIDE, NARROW = 840, 350
"""Widths in CSS pixels; a unit of the drawing is a pixel."""
FONT_SIZE = 12
"""In pixels, at both widths."""

_STAND_INS = {name: f"#{0xEC0700 + index:06x}" for index, name in enumerate(COLOURS)}
"""Colours that occur nowhere else."""

_RC = {
    "svg.fonttype": "none",
    "svg.hashsalt": "ecot",
    "font.family": "sans-serif",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
}


@dataclass(frozen=True)
class Chart:
    """A drawing for wide and one for narrow screens, with the sentence that stands for it."""

    wide: str
    narrow: str
    description: str


def colour(name: str) -> str:
    """The stand-in that becomes `var(--name)`."""
    return _STAND_INS[name]


def make_chart(
    identifier: str, description: str, heights: tuple[int, int], draw: Callable[[Figure, bool], None]
) -> Chart:
    """Draw a chart for both widths.

    Args:
        identifier: begins the SVG's ids, so that charts of one page do not share any.
        description: what the chart says, for those who do not see it.
        heights: of the wide and the narrow drawing, in pixels.
        draw: fills a figure; its second argument says whether it is the narrow one.
    """
    wide, narrow = (
        _svg(f"{identifier}-{suffix}", description, (width, height), draw)
        for suffix, width, height in (("w", WIDE, heights[0]), ("n", NARROW, heights[1]))
    )
    return Chart(wide, narrow, description)


def _svg(identifier: str, description: str, size: tuple[int, int], draw: Callable[[Figure, bool], None]) -> str:
    settings = {**_RC, "font.size": FONT_SIZE, "axes.titlesize": FONT_SIZE}
    settings |= {"text.color": colour("ink"), "axes.labelcolor": colour("muted"), "axes.edgecolor": colour("rule")}
    settings |= {"xtick.color": colour("muted"), "ytick.color": colour("muted"), "grid.color": colour("rule")}
    with rc_context(settings):
        figure = Figure(figsize=(size[0] / 72, size[1] / 72))
        FigureCanvasSVG(figure)
        figure.set_layout_engine("constrained", wspace=0.06)
        draw(figure, size[0] == NARROW)
        buffer = io.StringIO()
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return _inline(buffer.getvalue(), identifier, description)


def _inline(text: str, identifier: str, description: str) -> str:
    """The bare `<svg>` element: no prolog, metadata or namespaces, ids of its own, the page's fonts and colours."""
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<(metadata|style)\b.*?</\1>", "", text, flags=re.DOTALL)
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'(\sid="|url\(#|href="#)', rf"\g<1>{identifier}-", text)
    text = re.sub(r"font-family: [^;\"]*;?", "", text)
    text = re.sub(r"(font: (?:\w+ )*)([\d.]+px) [^;\"]*", r"\1\2 var(--font)", text)
    text = re.sub(r'(<svg\b[^>]*?)\swidth="[^"]*"', r"\1", text, count=1)
    text = re.sub(r'(<svg\b[^>]*?)\sheight="[^"]*"', r"\1", text, count=1)
    text = text.replace("<svg", f'<svg role="img" aria-label="{escape(description)}"', 1)
    for name, stand_in in _STAND_INS.items():
        text = text.replace(stand_in, f"var(--{name})")
    return text.strip()


def quiet_axes(axes: Axes, grid: Literal["x", "y"]) -> None:
    """Grid lines across `grid` (`x` or `y`), no tick marks."""
    axes.set_axisbelow(True)
    axes.grid(axis=grid, linewidth=0.8)
    axes.tick_params(length=0)


def compact(number: float) -> str:
    """A count in a few characters: 540K, 1.2M."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "K")):
        if abs(number) >= size:
            return f"{number / size:.3g}{unit}"
    return f"{number:.3g}"
