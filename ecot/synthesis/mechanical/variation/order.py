"""Reordering of module items whose order has no meaning."""

from __future__ import annotations

from random import Random

from tree_sitter import Node

from ecot.synthesis.mechanical.variation.rewriting import replace_spans
from ecot.synthesis.verilog.design import read_design
from ecot.synthesis.verilog.syntax import SyntaxTree


def reorder_items(code: str, rng: Random) -> str:
    """Shuffle neighbouring declarations, neighbouring continuous assignments and neighbouring always blocks.

    Items never pass one of another kind, so a declaration stays before its uses.
    """
    tree = read_design(code).tree
    spans: list[tuple[int, int, str]] = []
    for module in tree.of("module_declaration"):
        for run in _runs(tree, module):
            texts = [tree.text(node) for node in run]
            rng.shuffle(texts)
            spans += [(n.start_byte, n.end_byte, text) for n, text in zip(run, texts, strict=True)]
    return replace_spans(code, spans)


def _runs(tree: SyntaxTree, module: Node) -> list[list[Node]]:
    """Neighbours of one kind, each run at least two long."""
    runs: list[list[Node]] = []
    previous = ""
    for child in module.children:
        kind = _kind(tree, child)
        if kind and kind == previous:
            runs[-1].append(child)
        elif kind:
            runs.append([child])
        previous = kind
    return [run for run in runs if len(run) > 1]


def _kind(tree: SyntaxTree, node: Node) -> str:
    if node.type in ("data_declaration", "net_declaration"):
        plain = not tree.below(node, "type_declaration", "=")
        return "declaration" if plain else ""
    return node.type if node.type in ("continuous_assign", "always_construct") else ""
