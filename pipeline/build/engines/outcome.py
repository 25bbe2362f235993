"""Running one task and putting what goes wrong into words that another process can read."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from pipeline.build.group import GroupTask, Progress, build_group
from pipeline.transcode.encoding import EncodingFailed
from shards.errors import RocketError


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a task ended.

    Attributes:
        problem: None if the part is finished, else one line for the user.
        killed: it may go well the next time.
        stop: it will go wrong for every other group, too.
        crash: a traceback where the fault is the program's.
    """

    problem: str | None = None
    killed: bool = False
    stop: bool = False
    crash: str | None = None


def attempt(task: GroupTask, progress: Progress) -> Outcome:
    """Build a group; nothing is raised but what ends the process."""
    try:
        build_group(task, progress)
    except EncodingFailed as error:
        return Outcome(str(error), killed=error.killed, stop=error.disk_full)
    except RocketError as error:
        return Outcome(str(error))
    except OSError as error:
        where = error.filename or task.parts
        return Outcome(f"{where}: {error.strerror or error}. Mend that, then run again with --resume.", stop=True)
    except Exception as error:  # noqa: BLE001 (whatever it is, the parent has to know)
        return Outcome(f"group {task.group.index}: {error!r}", stop=True, crash=traceback.format_exc())
    return Outcome()
