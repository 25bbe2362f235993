"""Places: what a command writes to, folders and files of this machine for now; and where this package is."""

import os
import re
import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from shards.errors import RocketError

Place = TypeVar("Place", bound=str | Path | None)

_ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
"""A `Path` of `s3://bucket` has one slash left. Longer than a drive's letter."""


def on_this_machine(place: Place) -> Place:
    """The path, where it is none of an address. As it is, so that options can use this as their callback.

    Raises:
        RocketError: it is an address, such as s3://bucket/folder.
    """
    if place is not None and (match := _ADDRESS.match(str(place))):
        text = re.sub(r":/+", "://", str(place), count=1)
        raise RocketError(
            f"{text}: an address of {match[1]}, but this can only be written to a folder of this machine. Give a "
            "local path, and copy the result there afterwards."
        )
    return place


def file_of(*endings: str) -> Callable[[Path | None], Path | None]:
    """An option's callback: the path, where a file with one of these endings can be on this machine."""

    def check(out: Path | None) -> Path | None:
        on_this_machine(out)
        if out is None:
            return None
        if out.suffix.lower() not in endings:
            raise RocketError(f"--out: {out} ends in {out.suffix or 'nothing'}, expected {' or '.join(endings)}.")
        if not out.parent.is_dir():
            remedy = f"Make it: mkdir -p {shlex.quote(str(out.parent))}"
            raise RocketError(f"--out: the folder {out.parent} is missing. {remedy}")
        return out

    return check


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path to write to; afterwards the file has that content, on the disk. A crash leaves the old one."""
    partial = path.with_name(f"{path.name}.tmp")
    try:
        yield partial
        with open(partial, "rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def output(path: Path) -> Iterator[Path]:
    """A path to write what a user asked for to, as with `replacing`; nothing else is done inside.

    Raises:
        RocketError: it cannot be written.
    """
    try:
        with replacing(path) as partial:
            yield partial
    except OSError as error:
        raise RocketError(
            f"{path}: cannot be written, got {error.strerror or error}. Give another --out."
        ) from error


def install_command(extra: str) -> str:
    """What installs an extra of this package into this environment: it is on no index, so from its own folder."""
    root = Path(__file__).resolve().parents[1]
    folder = root if (root / "pyproject.toml").is_file() else "FOLDER_OF_ROCKET1"
    return f"{shlex.quote(sys.executable)} -m pip install -e {shlex.quote(f'{folder}[{extra}]')}"
