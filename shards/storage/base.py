"""What a place that holds datasets can do, and the settings of its cache."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class Storage(Protocol):
    """Where a dataset's files lie."""

    def read(self, name: str) -> bytes:
        """A file's bytes; FileNotFoundError where there is none."""

    def read_range(self, name: str, start: int, stop: int) -> bytes:
        """Bytes [start, stop) of a file, fewer where it ends before."""

    def size(self, name: str) -> int | None:
        """A file's size in bytes; None where there is none."""

    def prefetch(self, name: str, start: int, stop: int) -> None:
        """That range will be read soon."""

    def forget(self, name: str, start: int, stop: int) -> bool:
        """No copy of that range is kept; whether reading it again can give anything else."""


@dataclass(frozen=True)
class CacheSettings:
    """A bounded cache on a local disk for datasets that lie elsewhere.

    Attributes:
        folder: where the copies go; the processes of a machine share it.
        max_bytes: what all copies in it may take together.
        fingerprints: of each dataset, by address; a rebuilt dataset never meets copies of the old one.
    """

    folder: str
    max_bytes: int
    fingerprints: Mapping[str, str] = field(default_factory=dict)
