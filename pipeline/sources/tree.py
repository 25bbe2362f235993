"""The files under the places that a user named, listed once, in one order on every machine."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import takewhile
from pathlib import Path

from pipeline.rejection import SourceError


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file, and the place named by the user that it was found under."""

    path: Path
    root: Path

    @property
    def version(self) -> str | None:
        """The recorder's version, told by the nearest folder named like one, up to the root."""
        below_root = takewhile(lambda folder: folder != self.root.parent, self.path.parents)
        return next((folder.name for folder in below_root if is_version(folder.name)), None)


def is_version(name: str) -> bool:
    """Whether a folder's name is a recorder's version, such as 6.13."""
    return re.fullmatch(r"[0-9]{1,2}\.[0-9]{1,2}", name) is not None


def version_key(version: str | None) -> tuple[int, ...]:
    """For comparing: 6.13 is later than 6.9, and any version is later than none."""
    return () if version is None else tuple(int(part) for part in version.split("."))


def list_files(roots: Sequence[Path]) -> list[SourceFile]:
    """All files under the roots, by path; hidden ones are left out, links to folders are followed.

    A root that is a file stands for itself and the files beside it that share its name up to the first dot
    after the stem: `a.mp4` brings `a.jsonl` and `a.rle` along.

    Raises:
        SourceError: if a root does not exist or a folder cannot be listed.
    """
    found: dict[Path, SourceFile] = {}
    for root in roots:
        if root.is_file():
            beside = (path for path in root.parent.iterdir() if path.name.startswith(root.stem + "."))
            files: Iterable[Path] = [root, *(path for path in beside if path.is_file())]
            place = root.parent
        elif root.is_dir():
            files, place = _walk(root), root
        else:
            raise SourceError(
                f"{root}: no such file or folder. Give the folder that holds the recordings.", "missing"
            )
        for path in files:
            found.setdefault(Path(os.path.abspath(path)), SourceFile(path, place))
    return [found[path] for path in sorted(found, key=lambda p: p.parts)]


def _walk(root: Path) -> Iterable[Path]:
    seen: set[tuple[int, int]] = set()

    def refuse(error: OSError) -> None:
        raise SourceError(f"{error.filename}: cannot be listed, got {error.strerror}. Check its permissions.")

    for folder, folders, names in os.walk(root, followlinks=True, onerror=refuse):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(names) if not name.startswith("."))


VIDEO_SUFFIXES = (".mp4", ".mkv", ".webm", ".mov", ".avi")
LOG_SUFFIX = ".jsonl"
MASK_SUFFIXES = (".masks.jsonl", ".rle")
"""In order of preference: of two mask files of one recording, the one that is no pickle is taken."""

_TWIN_FOLDERS = frozenset({"mp4", "videos", "jsonl", "actions", "labels", "rle", "masks"})
"""Folders that split a set by kind of file; what is in two of them side by side belongs together."""


@dataclass(frozen=True)
class Search:
    """What sources look through for recordings: the files under the places that the user named, by path.

    Attributes:
        alone: one source is asked alone, so that whatever can be its own is.
        versions: recorder versions by recording, from index files.
        claimed: files of sources that were asked before; a source adds its own.
    """

    files: Sequence[SourceFile]
    alone: bool
    versions: dict[str, str] = field(default_factory=dict)
    claimed: set[Path] = field(default_factory=set)

    def unclaimed(self, files: Sequence[SourceFile]) -> list[SourceFile]:
        """Those files that no source asked before has taken."""
        return [file for file in files if file.path not in self.claimed]

    def ending(self, *suffixes: str) -> list[SourceFile]:
        """The files whose names end so, in capitals or not."""
        return [file for file in self.files if file.path.name.lower().endswith(suffixes)]

    @property
    def videos(self) -> list[SourceFile]:
        return self.ending(*VIDEO_SUFFIXES)

    @property
    def logs(self) -> list[SourceFile]:
        return [file for file in self.ending(LOG_SUFFIX) if not file.path.name.lower().endswith(MASK_SUFFIXES)]

    @cached_property
    def masks(self) -> dict[str, list[Path]]:
        """Mask files by the name of their recording."""
        found: dict[str, list[Path]] = {}
        for file in self.ending(*MASK_SUFFIXES):
            found.setdefault(stem(file.path), []).append(file.path)
        return found

    def masks_of(self, name: str, folder: Path) -> Path | None:
        """The masks of the recording of that name whose set lies in `folder`, else any of that name, else None."""
        return min(
            self.masks.get(name, ()),
            key=lambda path: (set_folder(path) != folder, not path.name.lower().endswith(MASK_SUFFIXES[0]), path),
            default=None,
        )


def stem(path: Path) -> str:
    """The file's name without its extension, which may be `.masks.jsonl`."""
    for suffix in (*MASK_SUFFIXES, LOG_SUFFIX, *VIDEO_SUFFIXES, ".pkl"):
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return path.stem


def set_folder(path: Path) -> Path:
    """The folder of the set that a file belongs to: `a` for `a/x.mp4`, `a/videos/x.mp4` and `a/jsonl/x.jsonl`."""
    parent = path.parent
    return parent.parent if parent.name in _TWIN_FOLDERS else parent


_NAME = re.compile(r"(?P<session>.+)-(?P<date>[0-9]{8})-(?P<time>[0-9]{6})", re.DOTALL)


def session_and_start(name: str) -> tuple[str, datetime | None]:
    """The session that a recording's name puts it in, and when it began.

    `<alias>-<id>-<YYYYMMDD>-<HHMMSS>` gives `<alias>-<id>`: the date is left out so that play goes on over
    midnight, and the alias stays in because many recorders use the same default id. Any other name is a session
    of its own, without a start.
    """
    match = _NAME.fullmatch(name)
    if match is None:
        return name, None
    try:
        # A wall clock of unknown zone: only differences within a session are used.
        start = datetime.strptime(match["date"] + match["time"], "%Y%m%d%H%M%S")  # noqa: DTZ007
    except ValueError:
        return name, None
    return match["session"], start
