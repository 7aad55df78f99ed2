"""A SystemVerilog syntax tree with spans, on tree-sitter.

Offsets are byte offsets into the UTF-8 text; lines count from 1, as the tools count them.
"""

from __future__ import annotations

from bisect import bisect_right
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
    def nodes(self) -> tuple[Node, ...]:
        """Every node, tokens included, in reading order (a node before its children)."""
        return tuple(walk(self.tree.root_node))

    @cached_property
    def by_type(self) -> dict[str, list[Node]]:
        """Nodes by their type; an anonymous token's type is its text."""
        table: dict[str, list[Node]] = {}
        for node in self.nodes:
            table.setdefault(node.type, []).append(node)
        return table

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
        """Nodes of any of these types, in reading order."""
        if len(types) == 1:
            return self.by_type.get(types[0], [])
        found = [node for kind in types for node in self.by_type.get(kind, [])]
        return sorted(found, key=lambda node: (node.start_byte, -node.end_byte))

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


def walk(node: Node) -> Iterator[Node]:
    """A node and all that is below it, in reading order."""
    stack = [node]
    while stack:
        current = stack.pop()
        yield current
        stack.extend(reversed(current.children))


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


def below(node: Node, *types: str) -> list[Node]:
    """The nodes of these types at or below a node, in reading order."""
    return [inner for inner in walk(node) if inner.type in types]
