"""Errors that a user can cause; command lines print them as one line, without a traceback."""

from collections.abc import Sequence


class RocketError(ValueError):
    """Something outside the program is wrong; the message names the place, the problem and the remedy."""


class SettingsError(RocketError):
    """The settings are wrong; `problems` holds one finished line for each thing to fix."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = list(problems)


class UsageError(RocketError):
    """The command line itself is malformed; commands end with status 2."""


def first_line(error: BaseException) -> str:
    """What another library's error says first, without a full stop at the end; its name where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


class DatasetError(RocketError):
    """A dataset cannot be opened or does not match its manifest."""


class StorageError(OSError):
    """An address could not be read, after all tries. It is no fault of the data, so nothing is masked for it."""


class DamagedClip(DatasetError):
    """One clip fails its checksum or does not decode; `clip` is its number in the episode."""

    def __init__(self, shard: str, episode_id: str, clip: int, problem: str) -> None:
        super().__init__(shard, episode_id, clip, problem)
        self.shard, self.episode_id, self.clip, self.problem = shard, episode_id, clip, problem

    def __str__(self) -> str:
        return (
            f"{self.shard}: episode {self.episode_id}, clip {self.clip}: {self.problem}. "
            "Run: rocket-prep verify DATASET --repair SOURCE"
        )
