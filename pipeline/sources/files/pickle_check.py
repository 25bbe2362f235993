"""What a pickle would do, found out without running it: every instruction is looked at first.

Instructions that build objects of classes, reach outside, or would allocate what the file does not hold are
refused. An instruction is one byte and an argument: a fixed number of bytes, or a count and so many bytes, or text
to the end of the line.

Source: CPython, Lib/pickletools.py.
"""

import pickle
from typing import NoReturn

MAX_INSTRUCTIONS = 10_000_000
"""An empty list takes one byte in the file and 64 in memory: instructions bound what a file can grow to."""

MAX_INTEGER_BYTES = 16
MAX_KEY_WEIGHT = 1000
"""Members of a tuple and of the tuples in it: one tuple that repeats another often enough takes years to hash."""

_SCALAR, _MARK, _PUT, _GET, _TUPLE, _TUPLE_N, _TO_MARK, _POP, _NEW, _OTHER = range(10)

_FIXED = {  # instruction: (bytes of the argument, what it does to the stack)
    **dict.fromkeys(b"N\x88\x89]})\x8f", (0, _SCALAR)),
    **dict.fromkeys(b"K", (1, _SCALAR)),
    **dict.fromkeys(b"M", (2, _SCALAR)),
    **dict.fromkeys(b"J", (4, _SCALAR)),
    **dict.fromkeys(b"G", (8, _SCALAR)),
    **dict.fromkeys(b"(", (0, _MARK)),
    **dict.fromkeys(b"\x94", (0, _PUT)),
    **dict.fromkeys(b"q", (1, _PUT)),
    **dict.fromkeys(b"r", (4, _PUT)),
    **dict.fromkeys(b"h", (1, _GET)),
    **dict.fromkeys(b"j", (4, _GET)),
    **dict.fromkeys(b"t", (0, _TUPLE)),
    **dict.fromkeys(b"\x85\x86\x87", (0, _TUPLE_N)),
    **dict.fromkeys(b"eu\x90", (0, _TO_MARK)),
    **dict.fromkeys(b"abs0", (0, _POP)),
    **dict.fromkeys(b"R\x93", (0, _NEW)),
    **dict.fromkeys(b"1ld\x91", (0, _OTHER)),
    **dict.fromkeys(b"\x80", (1, _OTHER)),
    **dict.fromkeys(b"\x95", (8, _OTHER)),
}
_COUNTED = {  # instruction: bytes of the count
    **dict.fromkeys(b"U\x8cC\x8a", 1),
    **dict.fromkeys(b"TXB\x8b", 4),
    **dict.fromkeys(b"\x8d\x8e\x96", 8),
}
_LINES = {**dict.fromkeys(b"IFSVgpL", 1), **dict.fromkeys(b"c", 2)}  # instruction: number of lines
_INTEGERS = b"\x8a\x8b"
_STOP = b"."[0]

_ARGUMENT_BYTES = [_FIXED[code][0] if code in _FIXED else -1 for code in range(256)]
_EFFECT = [_FIXED[code][1] if code in _FIXED else _OTHER for code in range(256)]


def check_instructions(data: bytes) -> None:
    """Nothing has happened: the pickle holds only instructions that make data, and what they need is in it.

    The stack is followed with one number for each object: 0, or how much there is in a tuple.

    Raises:
        pickle.UnpicklingError: if an instruction is refused.
        IndexError: if the pickle ends too early or takes more than it put.
    """
    stack: list[int] = []
    marks: list[int] = []
    memo: dict[int, int] = {}
    position, num_instructions = 0, 0
    argument_bytes, effects = _ARGUMENT_BYTES, _EFFECT
    push, from_bytes = stack.append, int.from_bytes
    while True:
        code = data[position]
        if code == _STOP:
            return
        num_instructions += 1
        size = argument_bytes[code]
        position += 1
        if size < 0:
            if code in _LINES:
                start = position
                for _ in range(_LINES[code]):
                    position = data.index(b"\n", position) + 1
                _follow_line(code, data[start:position], stack, memo)
                continue
            position = _skip_counted(code, data, position)
            push(0)
            continue
        effect = effects[code]
        if effect == _SCALAR:
            push(0)
        elif effect == _PUT:
            index = from_bytes(data[position : position + size], "little") if size else len(memo)
            if index > len(memo):
                refuse(f"memory is written at {index}, after {len(memo)} entries")
            memo[index] = stack[-1]
        elif effect == _GET:
            push(memo[from_bytes(data[position : position + size], "little")])
        elif effect == _MARK:
            marks.append(len(stack))
        elif effect == _TO_MARK:
            del stack[marks.pop() :]
        elif effect in (_TUPLE, _TUPLE_N):
            start = marks.pop() if effect == _TUPLE else len(stack) - (code - 0x84)
            if start < 0:
                raise IndexError("a tuple takes more than there is")
            weight = len(stack) - start + 1 + sum(stack[start:])
            if weight > MAX_KEY_WEIGHT:
                refuse(f"a tuple of more than {MAX_KEY_WEIGHT} members, with those of its members")
            stack[start:] = (weight,)
        elif effect == _POP:
            _follow_pop(code, stack, marks)
        elif effect == _NEW:
            stack.pop()
            stack[-1] = 0
        elif code in b"1ld\x91":
            del stack[marks.pop() :]
            if code != b"1"[0]:
                push(0)
        position += size
        if num_instructions > MAX_INSTRUCTIONS:
            refuse(f"more than {MAX_INSTRUCTIONS} instructions")


def _follow_line(code: int, line: bytes, stack: list[int], memo: dict[int, int]) -> None:
    if code == b"p"[0]:
        if int(line) > len(memo):
            refuse(f"memory is written at {int(line)}, after {len(memo)} entries")
        memo[int(line)] = stack[-1]
    else:
        stack.append(memo[int(line)] if code == b"g"[0] else 0)


def _follow_pop(code: int, stack: list[int], marks: list[int]) -> None:
    if code == b"0"[0] and marks and marks[-1] == len(stack):
        marks.pop()
        return
    del stack[len(stack) - (2 if code == b"s"[0] else 1) :]


def _skip_counted(code: int, data: bytes, position: int) -> int:
    width = _COUNTED.get(code)
    if width is None:
        refuse(f"instruction {bytes([code])!r}, which plain data does not need")
    count = int.from_bytes(data[position : position + width], "little")
    position += width + count
    if position > len(data):
        refuse(f"{count} bytes announced, {len(data) - position + count} there")
    if code in _INTEGERS and count > MAX_INTEGER_BYTES:
        refuse(f"an integer of {count} bytes")
    return position


def refuse(what: str) -> NoReturn:
    """Raises `pickle.UnpicklingError`, which says what was met."""
    raise pickle.UnpicklingError(what)
