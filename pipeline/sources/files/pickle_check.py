"""What a pickle would do, found out without running it: every instruction is looked at first.

Instructions that build objects of classes or reach outside are refused, and those that would allocate or compute
out of all proportion to the file. `pickletools` reads them and knows what each does to the stack.
"""

import pickle
import pickletools
from typing import Any, NoReturn

MAX_INSTRUCTIONS = 10_000_000
"""An empty list takes one byte in the file and 64 in memory: instructions bound what a file can grow to."""

MAX_INTEGER_BYTES = 16
MAX_KEY_WEIGHT = 1000
"""Members of a tuple and of the tuples in it: one tuple that repeats another often enough takes years to hash."""

_REFUSED = {"INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID", "BINPERSID", "DUP"}
_REFUSED |= {"NEXT_BUFFER", "READONLY_BUFFER"}
_PUTS, _GETS = {"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"}, {"GET", "BINGET", "LONG_BINGET"}
_TUPLES = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
_MARKED = {pickletools.markobject, pickletools.stackslice}
_EFFECTS = {  # whether it takes all down to the last mark, how many objects besides, how many it gives
    one.name: (
        pickletools.markobject in one.stack_before,
        sum(kind not in _MARKED for kind in one.stack_before),
        len(one.stack_after),
    )
    for one in pickletools.opcodes
}


def check_instructions(data: bytes) -> None:
    """Nothing has happened: the pickle holds only instructions that make data, and what they need is in it.

    The stack is followed with one number for each object: 0, or how much there is in a tuple.

    Raises:
        pickle.UnpicklingError: if an instruction is refused.
        ValueError: if the pickle ends too early or holds what is no instruction.
        LookupError: if it takes more than it put.
    """
    stack: list[int] = []
    marks: list[int] = []
    memo: dict[Any, int] = {}
    for number, (instruction, argument, _) in enumerate(pickletools.genops(data)):
        name = instruction.name
        if number > MAX_INSTRUCTIONS:
            refuse(f"more than {MAX_INSTRUCTIONS} instructions")
        if name in _REFUSED:
            refuse(f"instruction {name}, which plain data does not need")
        if isinstance(argument, int) and argument.bit_length() > 8 * MAX_INTEGER_BYTES:
            refuse(f"an integer of more than {MAX_INTEGER_BYTES} bytes")
        if name in _PUTS:
            index = len(memo) if argument is None else argument
            if index > len(memo):
                refuse(f"memory is written at {index}, after {len(memo)} entries")
            memo[index] = stack[-1]
        elif name in _GETS:
            stack.append(memo[argument])
        elif name == "MARK":
            marks.append(len(stack))
        elif name == "POP" and marks and marks[-1] == len(stack):
            marks.pop()
        else:
            to_mark, num_taken, num_given = _EFFECTS[name]
            start = (marks.pop() if to_mark else len(stack)) - num_taken
            if start < 0:
                raise IndexError(f"{name} takes more than there is")
            weight = len(stack) - start + 1 + sum(stack[start:]) if name in _TUPLES else 0
            if weight > MAX_KEY_WEIGHT:
                refuse(f"a tuple of more than {MAX_KEY_WEIGHT} members, with those of its members")
            stack[start:] = [weight] * num_given


def refuse(what: str) -> NoReturn:
    """Raises `pickle.UnpicklingError`, which says what was met."""
    raise pickle.UnpicklingError(what)
