"""A SystemVerilog syntax tree with spans, on tree-sitter.

Offsets are byte offsets into the UTF-8 text; lines count from 1, as the tools count them.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

import tree_sitter_systemverilog
from tree_sitter import Language, Node, Parser, Tree

_LANGUAGE = Language(tree_sitter_systemverilog.language())
_PARSER = Parser(_LANGUAGE)


@dataclass(frozen=True)
class SyntaxTree:
    """A parsed source text."""

    code: str
    data: bytes
    tree: Tree

    @cached_property
    def _index(self) -> _Index:
        return _Index(self.tree)

    @property
    def nodes(self) -> list[Node]:
        """Every node, tokens included, in reading order (a node before its children)."""
        return self._index.nodes

    @cached_property
    def _line_starts(self) -> list[int]:
        return [0, *(index + 1 for index, byte in enumerate(self.data) if byte == 0x0A)]

    @cached_property
    def lines(self) -> list[str]:
        """The text of each line, without line ends."""
        return self.code.split("\n")

    @property
    def has_errors(self) -> bool:
        """Whether the grammar could not make sense of some place."""
        return self.tree.root_node.has_error

    def of(self, *types: str) -> list[Node]:
        """Nodes of any of these types, in reading order; an anonymous token's type is its text."""
        index = self._index
        return [index.nodes[i] for i in index.numbers(types)]

    def below(self, node: Node, *types: str) -> list[Node]:
        """The nodes of these types at or below a node, in reading order."""
        index = self._index
        first = index.number[node.id]
        return [index.nodes[i] for i in index.numbers(types, first, index.last[first])]

    def text(self, node: Node) -> str:
        """The source text of a node."""
        return self.slice(node.start_byte, node.end_byte)

    def slice(self, start: int, end: int) -> str:
        """The source text of a span of bytes."""
        return self.data[start:end].decode("utf-8")

    def line(self, offset: int) -> int:
        """The line, from 1, that holds a byte offset."""
        return bisect_right(self._line_starts, offset)

    def line_text(self, number: int) -> str:
        """The text of a line, from 1, without surrounding blanks; empty past the end."""
        return self.lines[number - 1].strip() if 1 <= number <= len(self.lines) else ""

    def line_span(self, offset: int) -> tuple[int, int]:
        """Start and end (with its line end) of the line that holds an offset."""
        number = self.line(offset)
        start = self._line_starts[number - 1]
        end = self._line_starts[number] if number < len(self._line_starts) else len(self.data)
        return start, end

    def covering(self, start: int, end: int) -> Node:
        """The smallest named node that covers a span."""
        node = self.tree.root_node.named_descendant_for_byte_range(start, max(start, end - 1))
        return node if node is not None else self.tree.root_node


@lru_cache(maxsize=512)
def parse(code: str) -> SyntaxTree:
    """Parse a source text; places that the grammar cannot read become error nodes."""
    data = code.encode("utf-8")
    return SyntaxTree(code, data, _PARSER.parse(data))


class _Index:
    """The nodes of a tree in reading order, found by type and by the subtree they stand in."""

    def __init__(self, tree: Tree) -> None:
        self.nodes: list[Node] = []
        self.number: dict[int, int] = {}
        self.last: list[int] = []
        """For each node the number after the last one below it."""
        self._by_type: dict[str, list[int]] = {}
        self._read(tree)

    def _read(self, tree: Tree) -> None:
        cursor = tree.walk()
        open_nodes: list[int] = []
        while True:
            node = cursor.node
            assert node is not None
            number = len(self.nodes)
            self.nodes.append(node)
            self.number[node.id] = number
            self.last.append(number + 1)
            self._by_type.setdefault(node.type, []).append(number)
            if cursor.goto_first_child():
                open_nodes.append(number)
                continue
            while not cursor.goto_next_sibling():
                if not cursor.goto_parent():
                    return
                self.last[open_nodes.pop()] = len(self.nodes)

    def numbers(self, types: tuple[str, ...], first: int = 0, last: int | None = None) -> list[int]:
        """Numbers of the nodes of these types from `first` up to but not including `last`."""
        found: list[int] = []
        for kind in types:
            table = self._by_type.get(kind, [])
            end = len(table) if last is None else bisect_left(table, last)
            found += table[bisect_left(table, first) : end]
        return sorted(found) if len(types) > 1 else found


def ancestors(node: Node) -> Iterator[Node]:
    """The nodes around a node, from the nearest outwards."""
    current = node.parent
    while current is not None:
        yield current
        current = current.parent


def enclosing(node: Node, *types: str) -> Node | None:
    """The nearest node around `node`, itself included, of one of these types."""
    if node.type in types:
        return node
    return next((outer for outer in ancestors(node) if outer.type in types), None)
