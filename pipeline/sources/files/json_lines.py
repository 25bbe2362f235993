"""Logs with a JSON object a line, read one line at a time and never trusted.

A bad line ends what can be used: whoever skipped it would pair every later line with the wrong frame.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

from pipeline.recording import Breakage
from pipeline.rejection import cannot_read

MAX_LINE_BYTES = 4 << 20
"""Longer than any real line by far: the longest have a few kilobytes, most of it statistics."""

_TAIL_BYTES = 1 << 14
_UTF8_MARK = b"\xef\xbb\xbf"


class BadLine(Exception):
    """A line that is no action; `args` are a reason code of `REASONS` and a detail."""


@dataclass(frozen=True, slots=True)
class LogReading:
    """What was met in a log.

    Attributes:
        num_lines: bad ones and those after them too; blank ones at the end do not count.
        breakage: the first bad line, or that there is no line.
    """

    num_lines: int
    breakage: Breakage | None
    num_blank_at_end: int


def read_lines(path: Path, take: Callable[[dict[str, Any]], None]) -> LogReading:
    """`take` has been called with every line's object, in order, up to the first bad one.

    A line is bad if it is not a JSON object, if it is blank and not at the end, or if `take` raises `BadLine`.

    Raises:
        SourceError: if the file cannot be read.
    """
    breakage: Breakage | None = None
    num_lines = num_blank = 0  # blank lines count once something follows them
    for raw in raw_lines(path):
        if not raw.strip():
            num_blank += 1
            continue
        if num_blank and breakage is None:
            breakage = Breakage(num_lines, "blank_line", f"line {num_lines + 1} is blank")
        num_lines += num_blank
        num_blank = 0
        if breakage is None:
            try:
                take(parse_line(raw))
            except BadLine as bad:
                reason, detail = bad.args
                breakage = Breakage(num_lines, reason, f"line {num_lines + 1}: {detail}")
        num_lines += 1
    if num_lines == 0:
        breakage = Breakage(0, "empty_log", "no lines")
    return LogReading(num_lines, breakage, num_blank)


def parse_line(raw: bytes, max_bytes: int = MAX_LINE_BYTES) -> dict[str, Any]:
    """The object that a line holds.

    Raises:
        BadLine: if it holds none, or is longer than `max_bytes`.
    """
    if len(raw) > max_bytes:
        raise BadLine("line_too_long", f"more than {max_bytes} bytes")
    try:
        value = json.loads(raw.removeprefix(_UTF8_MARK).decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise BadLine("broken_line", f"not JSON ({str(error)[:120] or type(error).__name__})") from error
    if not isinstance(value, dict):
        raise BadLine("broken_line", f"a JSON {type(value).__name__}, expected an object")
    return value


def raw_lines(path: Path) -> Iterator[bytes]:
    """A file's lines one by one, as they lie there, with their line ends; cut after `MAX_LINE_BYTES + 1` bytes.

    Raises:
        SourceError: if the file cannot be read.
    """
    with _reading(path) as log:
        while line := log.readline(MAX_LINE_BYTES + 1):
            piece = line
            while len(piece) > MAX_LINE_BYTES and not piece.endswith(b"\n"):
                piece = log.readline(MAX_LINE_BYTES + 1)
            yield line


def read_first_line(path: Path) -> bytes | None:
    """The first line; None if there is none."""
    return next(raw_lines(path), None)


def read_last_line(path: Path) -> bytes | None:
    """The last line that is not blank, without reading what is before it; None if there is none.

    Raises:
        SourceError: if the file cannot be read.
    """
    with _reading(path) as log:
        size = log.seek(0, 2)
        tail_bytes = _TAIL_BYTES
        while True:
            start = max(0, size - tail_bytes)
            log.seek(start)
            _, line_end, last = log.read(size - start).rstrip().rpartition(b"\n")
            if line_end or start == 0:
                return last or None
            if tail_bytes > MAX_LINE_BYTES:
                return None
            tail_bytes *= 16


def count_lines(path: Path) -> int:
    """How many lines a file has, blank ones at the end not counted."""
    return max((number for number, raw in enumerate(raw_lines(path), 1) if raw.strip()), default=0)


@contextmanager
def _reading(path: Path) -> Iterator[IO[bytes]]:
    """The open file; a failure to read it is named."""
    try:
        with path.open("rb") as log:
            yield log
    except OSError as error:
        raise cannot_read(path, error) from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
