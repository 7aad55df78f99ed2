"""What two values say about a bug: the relation between the expected value and the one the design gave."""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random

_LITERAL = re.compile(r"^(?:(\d+)')?([bodhBODH])?([0-9a-fA-FxXzZ_]+)$")
_RADIX = {"b": 2, "o": 8, "d": 10, "h": 16}


@dataclass(frozen=True)
class Value:
    """A value as a testbench prints it."""

    text: str
    number: int | None
    """None if any bit is unknown."""
    width: int | None
    """In bits, where the text says it."""

    @property
    def unknown(self) -> bool:
        """Whether some bit is x."""
        return self.number is None and "x" in self.text.lower().split("'")[-1]

    @property
    def floating(self) -> bool:
        """Whether some bit is z and none is x."""
        return self.number is None and not self.unknown and "z" in self.text.lower().split("'")[-1]


def read_value(text: str) -> Value:
    """Read `8'h0a`, `4'b10x1`, `0a` (hexadecimal if it has letters) or `12`."""
    match = _LITERAL.match(text.strip())
    if match is None:
        return Value(text, None, None)
    size, base, digits = match.groups()
    letter = (base or ("h" if re.search("[a-fA-F]", digits) else "d")).lower()
    try:
        number: int | None = int(digits.replace("_", ""), _RADIX[letter])
    except ValueError:
        number = None
    width = int(size) if size else None
    return Value(text, number, width)


def relation(expected: Value, got: Value, rng: Random) -> str:
    """One true remark on how `got` differs from `expected`, or the empty string where there is nothing to see."""
    if got.unknown:
        return rng.choice(
            (
                "An x: something on this path has no defined value yet.",
                "The x points to a value that is used before it is defined, or to two drivers that disagree.",
                "Unknown bits, so something on this path was not initialised, not driven, or driven twice.",
            )
        )
    if got.floating:
        return rng.choice(("The z says that nothing drives the signal.", "High impedance: no driver is connected."))
    if expected.number is None or got.number is None:
        return ""
    return _numeric(expected, got, rng)


def _numeric(expected: Value, got: Value, rng: Random) -> str:
    assert expected.number is not None and got.number is not None
    want, have = expected.number, got.number
    width = expected.width
    ones = (1 << width) - 1 if width else None
    if width == 1:
        return ""
    if have == want + 1 or have == want - 1:
        return f"It is one too {'high' if have > want else 'low'}."
    if ones is not None and have == want ^ ones:
        return "Every bit is inverted."
    if have == 0:
        return rng.choice(("The design gives zero where a value is due.", "It stays at zero."))
    if want == 0:
        return rng.choice(("It should be zero at that point.", "A zero is expected, so it moved or was not cleared."))
    if want > have and (want & have) == have and have == want & ((1 << have.bit_length()) - 1):
        return "The low bits agree and the upper ones are lost."
    if have == want * 2 or have * 2 == want:
        return f"It is {'twice' if have > want else 'half'} of what is expected, which is one shift."
    bits = (want ^ have).bit_count()
    if bits == 1:
        return f"Only bit {(want ^ have).bit_length() - 1} differs."
    return ""
