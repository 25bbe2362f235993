"""Results on stdout: lines for people, JSON for scripts."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable
from typing import Any

from shards.display.wording import plain, speaks_unicode

_BOLD, _NORMAL = "\x1b[1m", "\x1b[0m"


def print_lines(lines: Iterable[str]) -> None:
    """The lines are on stdout; those that do not begin with a blank are bold where the terminal can.

    A stream that knows nothing but ASCII gets nothing else.
    """
    stream = sys.stdout
    unicode = speaks_unicode(stream)
    bold = stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    for line in lines:
        text = line if unicode else plain(line)
        if bold and text and not text.startswith(" "):
            text = f"{_BOLD}{text}{_NORMAL}"
        stream.write(text + "\n")


def print_json(record: Any) -> None:
    """The record is on stdout as JSON."""
    sys.stdout.write(json.dumps(record, indent=2, ensure_ascii=not speaks_unicode(sys.stdout)) + "\n")
