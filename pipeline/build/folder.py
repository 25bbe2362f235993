"""The output folder of a build under way: what may be in it, what is finished, who works in it.

DATASET/.build/plan.json     what is being built, from what, with what; written first
DATASET/.build/parts/        finished groups: NNNNNN.tar, and NNNNNN.json when the tar is complete
DATASET/.build/shards/       shards of finished parts, by their number in the plan
DATASET/.build/work/         half-finished files of running workers
DATASET/NNNNNN.tar ...       moved here at the end; dataset.json comes last, and .build goes
"""

import errno
import fcntl
import json
import os
import shlex
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from shards.errors import RocketError
from shards.manifest import INFO_FILE, EpisodeRow

_BUILD = ".build"
_LIMIT_SHOWN = 3


@dataclass(frozen=True)
class PartRecord:
    """What a finished part holds; offsets count from its own start."""

    episodes: Sequence[EpisodeRow]
    rejections: Sequence[dict[str, Any]]
    num_noops: int

    @classmethod
    def read(cls, parts: Path, group: int) -> "PartRecord":
        record = json.loads(record_path(parts, group).read_bytes())
        return cls(
            [EpisodeRow.from_record(row) for row in record["episodes"]], record["rejections"], record["num_noops"]
        )

    def write(self, path: Path) -> None:
        with open(path, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file, ensure_ascii=False, separators=(",", ":"))
            file.flush()
            os.fsync(file.fileno())


def part_path(parts: Path, group: int) -> Path:
    return parts / f"{group:06d}.tar"


def record_path(parts: Path, group: int) -> Path:
    return parts / f"{group:06d}.json"


class BuildFolder:
    """Paths of a build, and the checks before anything is written."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.build = out / _BUILD
        self.parts, self.shards, self.work = self.build / "parts", self.build / "shards", self.build / "work"
        self.shared_mark = self.build / "shared"  # is there once shares were built with --only
        self._plan = self.build / "plan.json"

    def refuse_foreign_content(self, *, resume: bool) -> None:
        """The folder does not exist, is empty, or holds an unfinished build that may be continued.

        Raises:
            RocketError: otherwise.
        """
        place = self.out
        while not os.path.lexists(place) and place != place.parent:
            place = place.parent
        if not place.is_dir():
            raise RocketError(f"{place}: a file, expected a folder. Choose another --out.")
        try:
            names = sorted(path.name for path in self.out.iterdir()) if place == self.out else []
        except OSError as error:
            raise RocketError(
                f"{self.out}: cannot be read, got {error.strerror}. Choose another --out."
            ) from error
        if INFO_FILE in names:
            if resume:
                return
            raise RocketError(
                f"{self.out}: holds a finished dataset, expected an empty folder. "
                f"Choose another --out, or look at it: rocket-prep inspect {shlex.quote(str(self.out))}"
            )
        if names and _BUILD not in names:
            raise RocketError(
                f"{self.out}: not empty, got {', '.join(names[:_LIMIT_SHOWN])}"
                f"{' and more' if len(names) > _LIMIT_SHOWN else ''}, expected an empty folder. "
                "Choose another --out."
            )
        if names and not resume:
            raise RocketError(
                f"{self.out}: holds an unfinished build, expected an empty folder. "
                f"Continue it with --resume, or start again: rm -r {shlex.quote(str(self.out))}"
            )
        if not os.access(place, os.W_OK | os.X_OK):
            raise RocketError(f"{place}: cannot be written to, got no permission. Choose another --out.")

    def begin(self, identity: Mapping[str, Any]) -> None:
        """The folder holds a build of this identity, begun now or before, and none of another one.

        Raises:
            RocketError: it holds one of another identity, or cannot be written.
        """
        try:
            for folder in (self.parts, self.shards, self.work):
                folder.mkdir(parents=True, exist_ok=True)
            if not self._plan.exists():
                temporary = self.work / f"plan-{os.getpid()}-{os.urandom(4).hex()}.json"
                temporary.write_text(json.dumps(identity, ensure_ascii=False), encoding="utf-8")
                with open(temporary, "rb") as file:
                    os.fsync(file.fileno())
                # Whoever comes first wins: machines that share the folder may begin at once.
                try:
                    os.link(temporary, self._plan)
                except OSError:
                    if not self._plan.exists():  # a file system without hard links
                        os.replace(temporary, self._plan)
                temporary.unlink(missing_ok=True)
            known = json.loads(self._plan.read_bytes())
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise RocketError(f"{self.build}: cannot be used, got {reason}. Choose another --out.") from error
        refuse_difference(self.out, known, json.loads(json.dumps(identity)))

    def is_finished(self, group: int) -> bool:
        """Whether the group's part was finished, now or in an earlier run."""
        return record_path(self.parts, group).exists()

    def clear_work(self) -> None:
        """What killed workers left is gone. Only for who works here alone."""
        shutil.rmtree(self.work, ignore_errors=True)
        self.work.mkdir(parents=True, exist_ok=True)

    def remove(self) -> None:
        shutil.rmtree(self.build, ignore_errors=True)

    @contextmanager
    def locked(self, *, shared: bool) -> Iterator[None]:
        """No other build works in the folder meanwhile; with `shared`, only others that are shared.

        Raises:
            RocketError: another one does.
        """
        try:
            self.build.mkdir(parents=True, exist_ok=True)
            file = open(self.build / "lock", "wb")  # noqa: SIM115 (closed below)
        except OSError as error:
            raise RocketError(
                f"{self.build}: cannot be written, got {error.strerror}. Choose another --out."
            ) from error
        with file:
            try:
                fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            except OSError as error:
                # Some shared file systems have no locks; there the user has to take care.
                if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                    raise RocketError(
                        f"{self.out}: another build is at work here, expected none. Wait for it, or stop it."
                    ) from None
            yield


def refuse_difference(out: Path, known: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """What was begun is what is asked for.

    Raises:
        RocketError: naming the first thing that differs.
    """
    difference = next(_differences(known, now), None)
    if difference is not None:
        raise RocketError(
            f"{out}: cannot be continued, {difference}. Use the same again, or start again: "
            f"rm -r {shlex.quote(str(out))}"
        )


def _differences(known: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    for kind, word in (("settings", "setting"), ("tools", "tool"), ("sources", "recording")):
        before, after = known.get(kind, {}), now.get(kind, {})
        for key in sorted({*before, *after}):
            if before.get(key) == after.get(key):
                continue
            if word != "recording":
                yield f"{word} {key} is {after.get(key)!r} now, expected {before.get(key)!r} as when it began"
            elif key not in after:
                yield f"recording {key} is not in the sources any more"
            elif key not in before:
                yield f"recording {key} was not in the sources when it began"
            else:
                yield f"recording {key} has changed since it began"
    if known != now:
        yield "the sources have changed since it began"


def cannot_write(error: OSError, place: Path) -> str:
    """The line about a file that cannot be written; `place` where the error names none."""
    where = error.filename or place
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"{where}: the disk is full. Make room, then run again with --resume."
    return f"{where}: cannot be written, got {error.strerror or error}. Fix that, then run again with --resume."
