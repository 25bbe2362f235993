"""Numbers and small charts as text that reads well in a terminal of any width, in a pipe, and without colours."""

import json
import os
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from shards.action_space import ACTION_SPACE

MIN_COLUMNS = 40
MAX_COLUMNS = 100
"""Longer lines are hard to read; wider terminals get no wider text."""

_BOLD, _NORMAL = "\x1b[1m", "\x1b[0m"
_EIGHTHS = " ▏▎▍▌▋▊▉█"


def version_line(program: str) -> str:
    """What `program --version` prints."""
    try:
        return f"{program} {version('rocket1')}"
    except PackageNotFoundError:
        return f"{program} (not installed)"


def terminal_columns() -> int:
    """How wide text may be: the terminal's columns within limits, 80 in a pipe."""
    return min(max(shutil.get_terminal_size((80, 24)).columns, MIN_COLUMNS), MAX_COLUMNS)


def print_lines(lines: Iterable[str]) -> None:
    """The lines are on stdout; those that do not begin with a blank are bold where the terminal can."""
    stream = sys.stdout
    encoding = stream.encoding or "utf-8"
    bold = stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    for line in lines:
        text = line.encode(encoding, "replace").decode(encoding)
        if bold and text and not text.startswith(" "):
            text = f"{_BOLD}{text}{_NORMAL}"
        stream.write(text + "\n")


def print_json(record: Any) -> None:
    """The record is on stdout as JSON."""
    sys.stdout.write(json.dumps(record, indent=2) + "\n")


def count(number: float) -> str:
    """A whole number with separators: 1,257,600."""
    return f"{round(number):,}"


def number_of(number: int, unit: str, units: str = "") -> str:
    """A number with its unit, in the plural where it is not one: 1 rank, 8 ranks, 2 entries."""
    return f"{count(number)} {unit if number == 1 else units or unit + 's'}"


def frames_account(kept: int, noops: int, left_out: int, num_unknown: int = 0) -> str:
    """What became of all source frames, as a sentence; `num_unknown` recordings left out are of unknown length."""
    more = f", and {number_of(num_unknown, 'recording')} of unknown length" if num_unknown else ""
    return (
        f"Of {number_of(kept + noops + left_out, 'source frame')} {count(kept)} were kept, {count(noops)} dropped "
        f"as no-ops and {count(left_out)} left out{more}."
    )


def watch_out_block(found: Iterable[str], columns: int) -> list[str]:
    """What was found, under a heading and after a blank line; nothing if nothing was."""
    lines = [
        line
        for text in found
        for line in textwrap.wrap(
            text, columns, initial_indent="  ", subsequent_indent="    ", break_on_hyphens=False
        )
    ]
    return ["", "Watch out", *lines] if lines else []


def listed(parts: Iterable[str], columns: int, separator: str = ", ") -> list[str]:
    """Indented lines with the parts and separators between them, broken between parts only."""
    glue = separator.replace(" ", "\xa0").removesuffix("\xa0") + " "
    text = glue.join(part.replace(" ", "\xa0") for part in parts)
    lines = textwrap.wrap(text, columns, initial_indent="  ", subsequent_indent="  ")
    return [line.replace("\xa0", " ").removesuffix(" ·") for line in lines]


def span(ends: tuple[int, int], unit: str) -> str:
    """What lies between two numbers, the same one twice for a single number: 3 to 5 episodes, 1 episode."""
    low, high = ends
    return number_of(low, unit) if low == high else f"{count(low)} to {number_of(high, unit)}"


def short_count(number: float) -> str:
    """A number in at most six characters: 950, 12.5 k, 160 M."""
    for factor, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= factor * 0.9995:
            return f"{_three_digits(number / factor)} {unit}"
    return f"{round(number)}"


def size(num_bytes: float) -> str:
    """Bytes in decimal units: 512 B, 1.44 kB, 236 GB."""
    for factor, unit in ((1e15, "PB"), (1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if num_bytes >= factor * 0.9995:
            return f"{_three_digits(num_bytes / factor)} {unit}"
    return f"{round(num_bytes)} B"


def duration(seconds: float) -> str:
    """A time span in its two largest units: 0.8 s, 12 s, 5 min 3 s, 2 h 40 min, 2,222 h."""
    if seconds == 0:
        return "0 s"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    hours, minutes = divmod(round(seconds / 60), 60)
    if hours >= 100:
        return f"{round(seconds / 3600):,} h"
    return f"{hours} h {minutes} min" if minutes else f"{hours} h"


def play_time(num_frames: float) -> str:
    """How long so many frames last in the game."""
    return duration(num_frames / ACTION_SPACE.frames_per_second)


def percent(share: float) -> str:
    """A share as per cent with two digits that mean something: 0 %, 0.031 %, 4.2 %, 37 %, 100 %."""
    value = 100 * share
    if value == 0:
        return "0 %"
    if value >= 9.95:
        # 99.96 is not everything.
        return "100 %" if share >= 1 else f"{min(value, 99.9):.1f} %" if value > 99 else f"{value:.0f} %"
    return f"{value:.1f} %" if value >= 0.095 else f"{value:.2g} %" if value >= 0.001 else "<0.001 %"


def short_event(event: str) -> str:
    """An event without the name space that nearly all of them share: mine_block:stone."""
    return event.replace("minecraft.", "").replace("minecraft:", "")


def bar(share: float, columns: int) -> str:
    """A bar that fills this share of so many columns, to an eighth of a column; never nothing for something."""
    eighths = round(max(0.0, min(1.0, share)) * columns * 8)
    if share > 0:
        eighths = max(eighths, 1)
    full, rest = divmod(eighths, 8)
    return "█" * full + (_EIGHTHS[rest] if rest else "")


def table(rows: Sequence[Sequence[str]], align: str, columns: int | None = None, indent: str = "  ") -> list[str]:
    """Rows as aligned lines.

    Args:
        align: for each column "l" or "r"; an upper-case letter marks the one column that is shortened in its
            middle where the lines would get too long.
        columns: how long a line may be; None: as long as it takes.
    """
    if not rows:
        return []
    widths = [max(_columns_of(row[place]) for row in rows) for place in range(len(align))]
    if columns is not None:
        surplus = len(indent) + sum(widths) + 2 * (len(widths) - 1) - columns
        for place, letter in enumerate(align):
            if letter.isupper() and surplus > 0:
                widths[place] = max(8, widths[place] - surplus)
    lines = []
    for row in rows:
        cells = []
        for cell, width, letter in zip(row, widths, align, strict=True):
            text = shorten(cell, width) if letter.isupper() else cell
            space = " " * (width - _columns_of(text))
            cells.append(space + text if letter.lower() == "r" else text + space)
        lines.append((indent + "  ".join(cells)).rstrip())
    return lines


def shorten(text: str, columns: int) -> str:
    """The text, or its beginning and end around `…` where it has more columns."""
    if _columns_of(text) <= columns:
        return text
    head = (columns - 1) // 2
    tail = columns - 1 - head
    return text[:head] + "…" + (text[-tail:] if tail else "")


def _columns_of(text: str) -> int:
    wide = sum(unicodedata.east_asian_width(letter) in "WF" for letter in text)
    marks = sum(bool(unicodedata.combining(letter)) for letter in text)
    return len(text) + wide - marks


def _three_digits(value: float) -> str:
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:,.0f}"
