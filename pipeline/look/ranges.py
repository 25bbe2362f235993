"""Ranges as people write them: A:B, half-open, either end left out."""

from __future__ import annotations

import re

from shards.errors import RocketError

_RANGE = re.compile(r"(\d+)?:(\d+)?|(\d+)")


class RangeError(RocketError):
    """Text that is no range."""


def parse_range(option: str, text: str) -> tuple[int | None, int | None]:
    """`10:20`, `:20`, `10:`, `:`, or `10` for the one that follows: (start, stop), None where it is left out.

    Raises:
        RangeError: if it is none of these.
    """
    found = _RANGE.fullmatch(text.strip())
    if found is None:
        raise RangeError(f"{option}: got {text!r}, expected START:STOP, such as 100:164.")
    start, stop, single = (None if part is None else int(part) for part in found.groups())
    return (single, single + 1) if single is not None else (start, stop)
