"""The charts of the report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from ecot.eval.report.charts import FONT_SIZE, NARROW, WIDE, Chart, colour, compact, make_chart, quiet_axes
from ecot.eval.report.figures import Curve, Lengths
from ecot.eval.report.palette import kind_colour, label_colour
from ecot.outcomes import Label
from ecot.segments import Kind

_NAMES = {Kind.THINKING: "Thinking", Kind.ANSWER: "Answer", Kind.OBSERVATION: "Observation"}


def scaling_chart(curves: Sequence[Curve]) -> Chart:
    """Held-out loss over trained tokens, a panel per segment kind, the training loss behind."""

    def draw(figure: Figure, narrow: bool) -> None:
        panels = _panels(figure, len(curves), narrow, share_y=True)
        for axes, curve in zip(panels, curves, strict=True):
            _draw_curve(axes, curve)
        _name_axes(figure, "trained tokens", "nats per token")

    said = []
    for curve in curves:
        points = ", ".join(f"{loss:.3f} at {compact(tokens)}" for tokens, loss in curve.heldout)
        said.append(f"{_NAMES[curve.kind]}: {points or 'no held-out loss yet'}")
    description = "Held-out loss in nats per token over trained tokens. " + "; ".join(said) + "."
    return make_chart("scaling", description, (300, 230 * len(curves)), draw)


def _draw_curve(axes: Axes, curve: Curve) -> None:
    shade = colour(kind_colour(curve.kind))
    axes.set_title(_NAMES[curve.kind], color=shade)
    if curve.training:
        tokens, losses = zip(*curve.training, strict=True)
        axes.plot(tokens, losses, color=shade, linewidth=1.2, alpha=0.45)
    if curve.heldout:
        tokens, losses = zip(*curve.heldout, strict=True)
        axes.plot(tokens, losses, color=shade, linewidth=2, marker="o", markersize=6)
        for number, (x, y) in enumerate(curve.heldout):
            side = "right" if number == len(curve.heldout) - 1 else "center"
            axes.annotate(f"{y:#.3g}", (x, y), (0, 9), textcoords="offset points", ha=side, color=colour("ink"))
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 4, 5, 10]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: compact(value)))
    axes.set_xlim(left=0)
    axes.margins(y=0.15)
    quiet_axes(axes, "y")


def label_chart(identifier: str, what: str, rows: Sequence[tuple[str, Mapping[str, int]]]) -> Chart:
    """Stacked bars: how many attempts had which label.

    Args:
        identifier: of the chart in the page.
        what: what the bars count, for the axis.
        rows: (name, label to count), from top to bottom.
    """
    labels = [str(label) for label in Label if any(counts.get(label) for _, counts in rows)]

    def draw(figure: Figure, narrow: bool) -> None:
        axes = figure.add_subplot()
        widest = max(sum(counts.values()) for _, counts in rows)
        pixels = (NARROW if narrow else WIDE) * 0.8
        for place, (_, counts) in enumerate(rows):
            left = 0
            for label in labels:
                count = counts.get(label, 0)
                axes.barh(
                    place, count, 0.66, left, color=colour(label_colour(label)), edgecolor=colour("page"), linewidth=1
                )
                if count / widest * pixels > 9 * len(str(count)) + 6:
                    axes.text(left + count / 2, place, str(count), ha="center", va="center", color=colour("on-bar"))
                left += count
        axes.set_yticks(range(len(rows)), [name for name, _ in rows], color=colour("ink"))
        axes.invert_yaxis()
        axes.xaxis.set_major_locator(MaxNLocator(4 if narrow else 8, integer=True))
        axes.set_xlabel(what)
        axes.spines["left"].set_visible(False)
        quiet_axes(axes, "x")
        keys = [Patch(color=colour(label_colour(label)), label=label) for label in labels]
        figure.legend(
            handles=keys,
            loc="outside upper left",
            ncols=1 if narrow else 4,
            frameon=False,
            handlelength=1.0,
            borderpad=0,
        )

    said = (f"{name}: " + ", ".join(f"{n} {label}" for label, n in counts.items()) for name, counts in rows)
    heights = (76 + 38 * len(rows) + 20 * -(-len(labels) // 4), 64 + 36 * len(rows) + 20 * len(labels))
    return make_chart(identifier, f"Outcome labels, {what}. " + "; ".join(said) + ".", heights, draw)


def length_chart(lengths: Sequence[Lengths]) -> Chart:
    """Histograms of segment lengths over all attempts, a panel per kind, log-spaced bins, the median marked."""
    whole = [entry for entry in lengths if entry.attempt is None]
    longest = max(int(entry.values[-1]) for entry in whole)
    shortest = max(1, min(int(entry.values[0]) for entry in whole))
    bins = np.unique(np.geomspace(shortest, longest + 1, 31).round())

    def draw(figure: Figure, narrow: bool) -> None:
        panels = _panels(figure, len(whole), narrow, share_y=False)
        for axes, entry in zip(panels, whole, strict=True):
            shade = colour(kind_colour(entry.kind))
            axes.hist(entry.values, bins=list(bins), color=shade, edgecolor=colour("page"), linewidth=0.8)
            middle = entry.quantile(0.5)
            axes.axvline(middle, color=colour("ink"), linewidth=1.2, linestyle=(0, (4, 3)))
            axes.set_title(f"{_NAMES[entry.kind]}, median {middle:,}", color=shade)
            axes.set_xscale("log")
            axes.set_xlim(bins[0], bins[-1])
            axes.xaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5)))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: compact(value)))
            axes.xaxis.set_minor_locator(NullLocator())
            axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
            quiet_axes(axes, "y")
        _name_axes(figure, "tokens (log scale)", "turns")

    said = (
        f"{_NAMES[entry.kind]}: half between {entry.quantile(0.25):,} and {entry.quantile(0.75):,}, median "
        f"{entry.quantile(0.5):,}"
        for entry in whole
    )
    description = "Lengths of segments in tokens. " + "; ".join(said) + "."
    return make_chart("lengths", description, (230, 185 * len(whole)), draw)


def _panels(figure: Figure, count: int, narrow: bool, share_y: bool) -> list[Axes]:
    shape = (count, 1) if narrow else (1, count)
    return list(figure.subplots(*shape, sharey=share_y, sharex=narrow, squeeze=False).flat)


def _name_axes(figure: Figure, x: str, y: str) -> None:
    figure.supxlabel(x, size=FONT_SIZE, color=colour("muted"))
    figure.supylabel(y, size=FONT_SIZE, color=colour("muted"))
