"""What became of each recording's frames: `rocket-prep inspect --recordings`."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from shards.display.wording import count, frames_account, number_of
from shards.reader import Dataset


@dataclass(frozen=True)
class RecordingAccount:
    """A recording's frames: those that were kept, dropped as no-ops and left out are all that it has.

    Attributes:
        reasons: why frames were left out; also of entries in rejected.jsonl that cost none.
    """

    name: str
    num_kept: int = 0
    num_noops: int = 0
    num_left_out: int = 0
    reasons: tuple[str, ...] = ()

    @property
    def num_frames(self) -> int:
        """All of them, as far as they are known."""
        return self.num_kept + self.num_noops + self.num_left_out

    def to_json(self) -> dict[str, Any]:
        return {"num_frames": self.num_frames, **asdict(self)}


def recording_accounts(dataset: Dataset) -> list[RecordingAccount]:
    """The account of each recording that was found, by name.

    No-ops of an episode that was too short are not known by recording.
    """
    accounts: dict[str, RecordingAccount] = {}
    num_used: dict[str, int] = {}
    for table in dataset.episode_groups(["recordings"]):
        for row in table["recordings"].combine_chunks().flatten().to_pylist():
            name, num_used[row["name"]] = row["name"], row["num_log_lines"]
            accounts[name] = RecordingAccount(name, row["num_frames"], row["num_log_lines"] - row["num_frames"])
    for row in dataset.rejected():
        name, num_frames = row["recording"], row["num_frames"] or 0
        account = accounts.get(name, RecordingAccount(name))
        # Of frames in the part that was used, such as those between at a reduced rate, none is a no-op.
        num_within = num_frames if row["first_frame"] < num_used.get(name, 0) else 0
        accounts[name] = replace(
            account,
            num_noops=account.num_noops - num_within,
            num_left_out=account.num_left_out + num_frames,
            reasons=tuple(dict.fromkeys((*account.reasons, row["reason"]))),
        )
    return [accounts[name] for name in sorted(accounts)]


def account_lines(dataset: Dataset, accounts: Sequence[RecordingAccount]) -> Iterator[str]:
    """A line for each recording, and the sums."""
    width = max((len(account.name) for account in accounts), default=0)
    yield f"{'recording':{width + 2}}     frames       kept     no-ops   left out"
    for one in accounts:
        numbers = (one.num_frames, one.num_kept, one.num_noops, one.num_left_out)
        columns = " ".join(f"{count(number):>10}" for number in numbers)
        yield f"  {one.name:{width}} {columns}  {', '.join(one.reasons)}".rstrip()
    counts = dataset.info.counts
    yield frames_account(counts["num_frames"], counts["num_noop_frames"], counts["num_rejected_frames"])
    num_short = counts["num_noop_frames"] - sum(account.num_noops for account in accounts)
    if num_short:
        yield f"{number_of(num_short, 'no-op')} of episodes that were too short are in no line."
