"""Fault operators: how to get a correct design wrong, one typed edit at a time."""

from ecot.synthesis.faults import clocking, control, expressions, names, numbers, punctuation
from ecot.synthesis.faults.edit import OPERATORS, Change, Edit, Family, Operator
from ecot.synthesis.faults.stack import FaultStack, Place, choose_edit

__all__ = [
    "OPERATORS",
    "Change",
    "Edit",
    "Family",
    "FaultStack",
    "Operator",
    "Place",
    "choose_edit",
    "clocking",
    "control",
    "expressions",
    "names",
    "numbers",
    "punctuation",
]
