"""A finished part's two files: a tar of a group's episodes, and the record of what is in it."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shards.manifest import EpisodeRow


@dataclass(frozen=True)
class PartRecord:
    """What a finished part holds; offsets count from its own start.

    Attributes:
        num_noops: source frames that were dropped because nothing happens in them.
    """

    episodes: Sequence[EpisodeRow]
    rejections: Sequence[dict[str, Any]]
    num_noops: int

    @classmethod
    def read(cls, path: Path) -> PartRecord:
        record = json.loads(path.read_bytes())
        return cls(
            [EpisodeRow.from_record(row) for row in record["episodes"]], record["rejections"], record["num_noops"]
        )

    def write(self, path: Path) -> None:
        record = {
            "episodes": [row.to_record() for row in self.episodes],
            "rejections": list(self.rejections),
            "num_noops": self.num_noops,
        }
        with open(path, "w", encoding="utf-8") as file:
            json.dump(record, file, ensure_ascii=False, separators=(",", ":"))
            file.flush()
            os.fsync(file.fileno())


def part_path(parts: Path, group: int) -> Path:
    return parts / f"{group:06d}.tar"


def record_path(parts: Path, group: int) -> Path:
    return parts / f"{group:06d}.json"
