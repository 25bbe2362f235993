"""Who builds the groups: processes on this machine, or a Ray cluster. Both run the same tasks.

An engine hands each task to whoever is free, tries again what was killed, and tells what happens as events.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from pipeline.build.group import GroupTask

MAX_TRIES = 3
"""How often a group is tried whose worker or ffmpeg was killed."""


@dataclass(frozen=True, slots=True)
class FramesDone:
    """So many source frames more are done; negative where some have to be done again."""

    num_frames: int


@dataclass(frozen=True, slots=True)
class GroupDone:
    """The part of this group is finished."""

    group: int


@dataclass(frozen=True, slots=True)
class GroupFailed:
    """This group cannot be built now.

    Attributes:
        message: one line for the user.
        stop: the same will happen to every other group, so that none was started any more.
    """

    group: int
    message: str
    stop: bool


@dataclass(frozen=True, slots=True)
class Note:
    """Something that the user may want to know, such as a second try."""

    message: str


Event = FramesDone | GroupDone | GroupFailed | Note


class Engine(Protocol):
    """Runs tasks; closing the iterator early ends all of its processes."""

    def run(self, tasks: Sequence[GroupTask]) -> Iterator[Event]:
        """Events until every task is done or has failed, in the order in which they happen."""
        ...
