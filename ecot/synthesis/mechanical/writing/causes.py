"""What each kind of fault looks like to somebody who reads the code: the cause, in a few wordings.

Fields: `line` (where the faulty text stands), `line_text` (that line), `wrong`/`name` and the other facts of the edit.
Every sentence speaks of the code at hand and of what it should be; none knows that a fault was put there.
"""

from __future__ import annotations

SILENT_CAUSES: dict[str, tuple[str, ...]] = {
    "misspell_use": (
        "`{wrong}` on line {line} is a misspelling of `{name}`: it silently becomes a net of one bit of its own.",
        "Line {line} says `{wrong}`, which nothing declares, so an implicit one-bit net stands where `{name}` should.",
    ),
    "drop_declaration": (
        "`{name}` is not declared, so it is an implicit net of one bit, and all its upper bits are lost.",
        "There is no declaration of `{name}`; the tool makes it a one-bit net without a word.",
    ),
}
"""Causes of faults that usually stop the compiler, for when it lets them pass."""

CAUSES: dict[str, tuple[str, ...]] = {
    # Grammar
    "drop_semicolon": (
        "The {what} on line {line} is not terminated: `{line_text}` has no semicolon, so the parser runs on into what "
        "follows.",
        "Line {line}, `{line_text}`, lacks its semicolon.",
        "There is no `;` after the {what} on line {line}, and the next token cannot continue it.",
    ),
    "drop_end": (
        "Counting the block keywords, the `{opener}` on line {opener_line} has no `{keyword}` of its own, so the rest "
        "of the file is read one level too deep.",
        "The `{opener}` of line {opener_line} is never closed; a `{keyword}` is missing near line {line}.",
        "`{opener}` and `{keyword}` do not balance: line {opener_line} opens a block that nothing closes.",
    ),
    "misspell_keyword": (
        "`{wrong}` on line {line} is not a keyword; it is a typing mistake for `{keyword}`.",
        "Line {line} says `{wrong}` where the language wants `{keyword}`, so the parser takes it for a name.",
        "The word `{wrong}` in `{line_text}` should be `{keyword}`.",
    ),
    "drop_parenthesis": (
        "The parentheses of the {what} on line {line} do not balance: one is opened and not closed.",
        "In `{line_text}` a closing parenthesis is missing.",
        "Line {line} opens more parentheses than it closes, so the {what} never ends.",
    ),
    "drop_comma": (
        "Two neighbours in the {what} stand without a comma between them, on line {line}.",
        "Line {line}, `{line_text}`, needs a comma to separate it from the next entry of the {what}.",
        "The {what} misses a comma on line {line}.",
    ),
    "single_equals": (
        "`{expression}` has to be a comparison, but line {line} writes a single `=`, which is no operator in an "
        "expression.",
        "The condition on line {line} uses `=` for a comparison; `==` is needed.",
        "A condition cannot assign: line {line} has `=` where `==` is meant.",
    ),
    "bad_literal": (
        "`{new}` on line {line} is not a well-formed number: {problem}. `{literal}` is meant.",
        "The literal `{new}` is malformed, {problem}.",
        "Line {line} holds `{new}`, and there {problem}.",
    ),
    "drop_assign": (
        "Outside of a process `{target}` can only be driven with `assign`, and line {line} has no such keyword.",
        "Line {line}, `{line_text}`, is a bare assignment at module level; the keyword `assign` is missing.",
        "`{target}` is given a value at module level without `assign`, so the parser expects a declaration or an "
        "instance.",
    ),
    # Names, declarations, connections
    "misspell_use": (
        "`{wrong}` is not declared anywhere; the declared name is `{name}`.",
        "Line {line} uses `{wrong}`, but the module only knows `{name}`.",
        "It is a misspelling: `{wrong}` on line {line} stands for `{name}`.",
    ),
    "drop_declaration": (
        "`{name}` is used in the module but never declared.",
        "There is no declaration of `{name}` among the signals of the module.",
        "The code reads and writes `{name}` without declaring it.",
    ),
    "rename_port": (
        "The header on line {line} calls the port `{wrong}`, while the specification and the rest of the code call it "
        "`{name}`.",
        "The port list has `{wrong}` on line {line}; the interface requires `{name}`.",
        "`{name}` is a port of the specification, but line {line} declares `{wrong}` instead.",
    ),
    "wire_in_process": (
        "`{name}` is assigned in an always block, and line {line} declares it as a wire, which only a continuous "
        "assignment may drive.",
        "Line {line} makes `{name}` a net. A procedural assignment needs a variable.",
        "A wire cannot hold what an always block writes, and `{name}` is declared as one on line {line}.",
    ),
    "misspell_system_function": (
        "`{wrong}` is not a system function; `{name}` is.",
        "Line {line} calls `{wrong}`, which does not exist. The function is called `{name}`.",
    ),
    "rename_connection": (
        "The instance connects a port `{wrong}`, but the module it instantiates calls it `{name}`.",
        "There is no port `{wrong}` on that module; line {line} must connect `{name}`.",
    ),
    "drop_connection": (
        "The instance leaves port `{port}` open on line {line}, so `{signal}` never reaches it.",
        "Line {line} connects nothing to `{port}`; `{signal}` belongs there.",
    ),
    "wrong_source": (
        "Line {line} takes its value from `{wrong}`; it has to depend on `{name}`.",
        "`{wrong}` is the wrong signal on line {line}: `{name}` has to stand there.",
        "Reading `{line_text}` again, `{wrong}` has no business in it, `{name}` does.",
    ),
    "wrong_target": (
        "Line {line} writes `{wrong}`, although the value belongs to `{name}`.",
        "`{line_text}` assigns the wrong register: `{name}` is left without this update and `{wrong}` is overwritten.",
        "The left-hand side on line {line} is `{wrong}`; it has to be `{name}`.",
    ),
    # Constants, widths, selections
    "wrong_constant": (
        "The constant on line {line} is wrong, `{wrong}` instead of `{value}`.",
        "`{line_text}` uses `{wrong}`, and `{value}` is what the behaviour needs.",
        "Line {line} has `{wrong}` where `{value}` has to stand.",
    ),
    "wrong_base": (
        "On line {line} the digits `{digits}` are read in the wrong base, which gives {wrong_value} and not {value}.",
        "`{line_text}` spells {value} in the wrong base; as written it is {wrong_value}.",
    ),
    "wrong_size": (
        "The literal on line {line} is only {wrong_bits} wide; {size} bits are needed here.",
        "`{line_text}` sizes its constant to {wrong_bits}, too few for this place, which takes {size}.",
    ),
    "wrong_declared_width": (
        "`{name}` is declared on line {line} one bit short, so its top bit is lost. The range has to be `{range}`.",
        "Line {line}, `{line_text}`, makes `{name}` too narrow; it needs `{range}`.",
        "The declaration on line {line} cuts the top bit off: `{range}` is the range for `{name}`.",
    ),
    "wrong_index": (
        "The selection on line {line} is one position off: `{wrong}` should be `{select}`.",
        "`{wrong}` picks the wrong bits on line {line}; `{select}` is meant.",
        "Line {line} selects `{wrong}` where `{select}` is the part that counts.",
    ),
    # Expressions
    "wrong_comparison": (
        "The comparison `{wrong_expression}` on line {line} is the wrong one; it needs `{operator}`.",
        "Line {line} compares with `{wrong}`, so the condition holds at the wrong moments. `{expression}` is right.",
        "`{wrong_expression}` decides wrongly, and `{expression}` decides as specified.",
    ),
    "wrong_operator": (
        "Line {line} combines with `{wrong}`, but the specified function needs `{operator}`.",
        "`{wrong_expression}` on line {line} computes something else than `{expression}`, which is what is asked.",
        "The operator on line {line} is wrong: `{wrong}` in place of `{operator}`.",
    ),
    "swap_operands": (
        "The operands of the {what} on line {line} are the wrong way round: `{first}` comes before `{second}`.",
        "On line {line} the {what} has `{second}` first; the order is `{first}`, then `{second}`.",
        "`{line_text}` swaps `{first}` and `{second}`.",
    ),
    "invert_condition": (
        "The condition `{wrong}` on line {line} is the opposite of what is needed: the branch runs exactly when it "
        "should not.",
        "Line {line} tests `{wrong}`; the branch belongs to `{condition}`.",
        "With `{wrong}` the two cases of line {line} change places. It has to be `{condition}`.",
    ),
    "drop_negation": (
        "Line {line} uses `{wrong}` where the complement, `{expression}`, is meant.",
        "A negation is missing on line {line}: `{expression}`, not `{wrong}`.",
        "`{wrong}` enters line {line} with the wrong polarity.",
    ),
    "swap_choices": (
        "The two choices on line {line} are exchanged: when `{condition}` holds the result is `{first}`, otherwise "
        "`{second}`.",
        "Line {line} picks `{second}` when `{condition}` is true; it should pick `{first}`.",
    ),
    # Control
    "swap_branches": (
        "The branches of the `if` are exchanged: with `{condition}` true it must do `{first}`, and otherwise "
        "`{second}`.",
        "When `{condition}` holds, `{first}` has to happen; around line {line} it is `{second}`.",
    ),
    "drop_case_arm": (
        "The case on `{subject}` at line {case_line} has no arm for {arm}.",
        "The case statement that starts on line {case_line} leaves out {arm}.",
        "Nothing in the case at line {case_line} covers {arm}.",
    ),
    "drop_reset": (
        "The reset branch never sets `{name}`, so it comes out of reset without a defined value.",
        "`{name}` is not initialised by the reset.",
        "After reset `{name}` keeps whatever it had, because the reset branch leaves it out.",
    ),
    "drop_update": (
        "In the branch around line {line} `{name}` is not updated, so it keeps its old value there.",
        "Nothing assigns `{name}` at the place where it has to change, near line {line}.",
        "The block around line {line} misses the update of `{name}`.",
    ),
    "drop_default": (
        "On this path through the combinational block `{name}` is not assigned near line {line}, so it keeps the value "
        "it had.",
        "`{name}` lacks its assignment at line {line} of the combinational block.",
        "The block is missing an assignment to `{name}` near line {line}.",
    ),
    "wrong_state": (
        "Line {line} names `{wrong}`, but the sequence continues with `{name}`.",
        "`{line_text}` uses `{wrong}` where `{name}` is due.",
        "The value on line {line} is `{wrong}`; at this point it has to be `{name}`.",
    ),
    # Clocking
    "blocking_assignment": (
        "Line {line} assigns `{name}` with `=`, so line {reader_line} already reads the new value in the same cycle.",
        "`{name}` is updated with a blocking assignment in a clocked block, and line {reader_line} sees it one cycle "
        "early.",
    ),
    "wrong_edge": (
        "The block reacts to `{wrong} {signal}`; it has to be `{edge} {signal}`.",
        "Line {line} is sensitive to the wrong edge of `{signal}`.",
        "`{wrong} {signal}` on line {line} is the wrong edge, so the registers change at the wrong moment.",
    ),
    "drop_event": (
        "`{signal}` is not in the sensitivity list of line {line}, so it only acts at the next clock edge, although it "
        "is asynchronous.",
        "Line {line} waits for the clock alone; the asynchronous `{signal}` is missing from the list.",
    ),
    "partial_sensitivity": (
        "The sensitivity list on line {line} lacks `{signal}`, so the block is not evaluated again when only "
        "`{signal}` changes.",
        "A change of `{signal}` does not wake the block on line {line}: it is not in the list.",
    ),
}
