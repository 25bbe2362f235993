"""What the manifest alone says of one episode."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from shards.action_space import ACTION_SPACE
from shards.display.wording import count, listed, number_of, percent, play_time, size, table
from shards.interaction_types import interaction_type
from shards.manifest import EpisodeRow, shard_name
from shards.reader import Dataset

_MAX_INTERACTIONS = 20
_MAX_EVENTS, _MAX_FRAMES = 12, 4


@dataclass(frozen=True)
class EpisodeFacts:
    """An episode: where it is, and its row in the manifest."""

    index: int
    shard: str
    row: EpisodeRow

    def to_json(self) -> dict[str, Any]:
        record = {"index": self.index, "shard": self.shard, **self.row.to_record()}
        del record["clips"], record["candidate_runs"], record["button_counts"]
        return record | {
            "num_clips": len(self.row.clips),
            "num_masked_frames": self.num_masked_frames,
            "button_frames": self.button_frames,
        }

    @property
    def num_masked_frames(self) -> int:
        return sum(run.stop - run.start for run in self.row.candidate_runs)

    @property
    def button_frames(self) -> dict[str, int]:
        return dict(zip(ACTION_SPACE.buttons, self.row.button_counts, strict=True))


def episode_facts(dataset: Dataset, episode_id: str) -> EpisodeFacts:
    """The facts of the episode of that name.

    Raises:
        DatasetError: if there is no such episode; the nearest names are given.
    """
    index = dataset.index_of(episode_id)
    return EpisodeFacts(index, shard_name(int(dataset.episodes.shard[index])), dataset.episode_row(index))


def episode_lines(facts: EpisodeFacts, columns: int = 80) -> list[str]:
    """The facts as text; lines that do not begin with a blank are headings."""
    row = facts.row
    num_bytes = row.stop_byte - row.start_byte
    frames, clips = number_of(row.num_frames, "frame"), number_of(len(row.clips), "clip")
    lines = [
        f"Episode {row.episode_id}",
        f"  {frames} · {play_time(row.num_frames)} · {clips}",
        f"  {facts.shard}, bytes {row.start_byte} to {row.stop_byte}",
        f"  {size(num_bytes)} ({count(num_bytes / row.num_frames)} B a frame)",
        "",
        "Recordings: frames kept of those that the source had",
        *table(
            [
                [one.name, one.source, f"{count(one.num_frames)} of {count(one.num_source_frames)}"]
                for one in row.recordings
            ],
            "Llr",
            columns,
        ),
        "",
    ]
    if row.interactions:
        masked = percent(facts.num_masked_frames / row.num_frames)
        lines += [
            f"Interactions: {count(len(row.interactions))}, with a mask on {masked} of the frames",
            *table(
                [
                    [
                        str(index),
                        interaction_type(item.type).name,
                        item.event,
                        f"{item.start}:{item.stop}" + (f" + {item.cut_frames} cut off" if item.cut_frames else ""),
                        play_time(item.stop - item.start),
                    ]
                    for index, item in enumerate(row.interactions[:_MAX_INTERACTIONS])
                ],
                "rlLrr",
                columns,
            ),
        ]
        if len(row.interactions) > _MAX_INTERACTIONS:
            lines.append(f"  and {len(row.interactions) - _MAX_INTERACTIONS} more; all with --json")
    else:
        lines.append("Interactions: none")
    events = sorted((one for one in row.events if one.frames), key=lambda one: -one.count)
    if events:
        lines += ["", "Events: how often, and in which frames"]
        lines += table(
            [[one.name, count(one.count), _some(one.frames)] for one in events[:_MAX_EVENTS]],
            "Lrl",
            columns,
        )
        if len(events) > _MAX_EVENTS:
            lines.append(f"  and {len(events) - _MAX_EVENTS} more; all with --json")
    shares = {"camera moves": row.num_camera_frames, "menu open": row.num_gui_frames}
    shares |= {name: number for name, number in facts.button_frames.items() if number}
    named = sorted(shares.items(), key=lambda item: -item[1])
    parts = [f"{name} {percent(number / row.num_frames)}" for name, number in named]
    return [*lines, "", "Actions: share of frames", *listed(parts, columns)]


def _some(frames: Sequence[int]) -> str:
    """The first of the frames."""
    return ", ".join(map(str, frames[:_MAX_FRAMES])) + (", ..." if len(frames) > _MAX_FRAMES else "")
