"""What the README shows as output, for the tests that see the real output."""

import re
from pathlib import Path

TEXT = (Path(__file__).resolve().parents[1] / "README.md").read_text(encoding="utf-8")


def shown_after(command: str) -> list[str]:
    """The lines that the README shows between a command, whole or its end, and the next command or dots."""
    lines = TEXT.splitlines()
    (at,) = [
        number for number, line in enumerate(lines) if line.endswith(command) and re.match(r"\$|\.venv", line)
    ]
    shown = []
    for line in lines[at + 1 :]:
        if re.match(r"\.venv|\$ |```|\.\.\.$|# ", line):
            break
        shown.append(line)
    return shown


def masked(lines: list[str]) -> list[str]:
    """The lines with numbers, and the spaces around them, made alike."""
    return [re.sub(r" +", " ", re.sub(r"\d[\d,.]*", "#", line)) for line in lines]
