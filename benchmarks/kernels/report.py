"""Results as Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MIB = 1 << 20
BARE = "bare matrix products"


def head_table(results: Mapping[str, Any]) -> str:
    """One table per case: time, share of the bare products' speed, speed relative to `ecot`, memory, errors."""
    environment = results["environment"]
    versions = ", ".join(f"{name} {number}" for name, number in environment["versions"].items() if number)
    lines = [
        f"# Loss at the head on {environment.get('gpu') or environment.get('cpu')}",
        "",
        f"{results['dtype']}; {versions}; Python {environment['python']}; commit {environment['commit']}; "
        f"{environment['date']}. Times are medians of launches by turns (20th to 80th percentile)"
        + ("" if results["device"] == "cuda" else ", in CPU time of one thread")
        + ". Peak memory is what is added to the inputs, with both gradients in it.",
        "",
    ]
    for case in results["cases"]:
        lines += _case(case)
    return "\n".join(lines)


def _case(case: Mapping[str, Any]) -> list[str]:
    providers = case["providers"]
    floor, ours = providers[BARE]["median_ms"], providers["ecot"]["median_ms"]
    lines = [
        f"## {case['head']}: T {case['tokens']}, D {case['width']}, V {case['vocab']}, {case['share']:.0%} supervised "
        f"({case['scored_rows']} rows, mean nll {case['mean_nll']:.2f})",
        "",
        "| implementation | ms | of the bare products' speed | time / ecot's | peak MiB | error of dX | error of dW |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, outcome in sorted(providers.items(), key=lambda item: item[1].get("median_ms", float("inf"))):
        if "median_ms" not in outcome:
            if not outcome["left_out"].startswith("does not run on"):
                lines.append(f"| {name} | {outcome['left_out']} | | | | | |")
            continue
        time = f"{outcome['median_ms']:.1f} ({outcome['p20_ms']:.1f} to {outcome['p80_ms']:.1f})"
        peak = f"{outcome['peak_bytes'] / MIB:.0f}" if "peak_bytes" in outcome else ""
        errors = outcome.get("errors", {})
        shown = [f"{errors[key]:.1e}" if errors else "" for key in ("d_hidden", "d_weight")]
        lines.append(
            f"| {name} | {time} | {floor / outcome['median_ms']:.2f} | {outcome['median_ms'] / ours:.2f} | {peak} | "
            f"{shown[0]} | {shown[1]} |"
        )
    return [*lines, ""]
