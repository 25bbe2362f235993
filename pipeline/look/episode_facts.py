"""What the manifest alone says of one episode."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from shards.action_space import ACTION_SPACE
from shards.clip import Interaction
from shards.display.wording import count, number_of, percent, play_time, size, table
from shards.interaction_types import interaction_type
from shards.manifest import EpisodeRow, EventRow, RecordingRow, shard_name
from shards.reader import Dataset

_MAX_INTERACTIONS = 20
_MAX_EVENTS, _MAX_FRAMES = 12, 4


@dataclass(frozen=True)
class EpisodeFacts:
    """An episode: where it lies, what it was made from, and what happens in it."""

    episode_id: str
    index: int
    shard: str
    start_byte: int
    stop_byte: int
    num_frames: int
    num_clips: int
    recordings: Sequence[RecordingRow]
    interactions: Sequence[Interaction]
    num_masked_frames: int
    events: Sequence[EventRow]
    button_frames: dict[str, int]
    num_camera_frames: int
    num_gui_frames: int

    def to_json(self) -> dict[str, Any]:
        """The facts as what JSON can hold."""
        return asdict(self)


def episode_facts(dataset: Dataset, episode_id: str) -> EpisodeFacts:
    """The facts of an episode.

    Raises:
        DatasetError: if there is no such episode; the nearest names are given.
    """
    index = dataset.index_of(episode_id)
    row: EpisodeRow = dataset.episode_row(index)
    return EpisodeFacts(
        episode_id=episode_id,
        index=index,
        shard=shard_name(int(dataset.episodes.shard[index])),
        start_byte=row.start_byte,
        stop_byte=row.stop_byte,
        num_frames=row.num_frames,
        num_clips=len(row.clips),
        recordings=list(row.recordings),
        interactions=list(row.interactions),
        num_masked_frames=sum(run.stop - run.start for run in row.candidate_runs),
        events=list(row.events),
        button_frames=dict(zip(ACTION_SPACE.buttons, row.button_counts, strict=True)),
        num_camera_frames=row.num_camera_frames,
        num_gui_frames=row.num_gui_frames,
    )


def episode_lines(facts: EpisodeFacts, columns: int = 80) -> list[str]:
    """The facts as text; lines that do not begin with a blank are headings."""
    num_bytes = facts.stop_byte - facts.start_byte
    frames, clips = number_of(facts.num_frames, "frame"), number_of(facts.num_clips, "clip")
    lines = [
        f"Episode {facts.episode_id}",
        f"  {frames} · {play_time(facts.num_frames)} · {clips}",
        f"  {facts.shard}, bytes {facts.start_byte} to {facts.stop_byte}",
        f"  {size(num_bytes)} ({count(num_bytes / facts.num_frames)} B a frame)",
        "",
        "Recordings: frames kept of those that the source had",
        *table(
            [
                [row.name, row.source, f"{count(row.num_frames)} of {count(row.num_source_frames)}"]
                for row in facts.recordings
            ],
            "Llr",
            columns,
        ),
        "",
    ]
    if facts.interactions:
        masked = percent(facts.num_masked_frames / facts.num_frames)
        lines += [
            f"Interactions: {count(len(facts.interactions))}, with a mask on {masked} of the frames",
            *_timeline(facts, columns),
            *table(
                [
                    [
                        str(index),
                        interaction_type(item.type).name,
                        item.event,
                        f"{item.start}:{item.stop}" + (f" + {item.cut_frames} cut off" if item.cut_frames else ""),
                        play_time(item.stop - item.start),
                    ]
                    for index, item in enumerate(facts.interactions[:_MAX_INTERACTIONS])
                ],
                "rlLrr",
                columns,
            ),
        ]
        if len(facts.interactions) > _MAX_INTERACTIONS:
            lines.append(f"  and {len(facts.interactions) - _MAX_INTERACTIONS} more; all with --json")
    else:
        lines.append("Interactions: none")
    events = sorted((row for row in facts.events if row.frames), key=lambda row: -row.count)
    if events:
        lines += ["", "Events: how often, and in which frames"]
        lines += table(
            [[row.name, count(row.count), _some(row.frames)] for row in events[:_MAX_EVENTS]],
            "Lrl",
            columns,
        )
        if len(events) > _MAX_EVENTS:
            lines.append(f"  and {len(events) - _MAX_EVENTS} more; all with --json")
    shares = {"camera moves": facts.num_camera_frames, "menu open": facts.num_gui_frames}
    shares |= {name: number for name, number in facts.button_frames.items() if number}
    listed = ", ".join(
        f"{name} {percent(number / facts.num_frames)}".replace(" ", "\xa0")
        for name, number in sorted(shares.items(), key=lambda item: -item[1])
    )
    wrapped = textwrap.wrap(listed, columns, initial_indent="  ", subsequent_indent="  ")
    return [*lines, "", "Actions: share of frames", *(line.replace("\xa0", " ") for line in wrapped)]


def _some(frames: Sequence[int]) -> str:
    """The first of the frames."""
    return ", ".join(map(str, frames[:_MAX_FRAMES])) + (", ..." if len(frames) > _MAX_FRAMES else "")


def _timeline(facts: EpisodeFacts, columns: int) -> list[str]:
    """A strip a type: where in the episode its interactions lie."""
    width = columns - 14
    lines = []
    for type_id in sorted({item.type for item in facts.interactions}):
        strip = [" "] * width
        for item in facts.interactions:
            if item.type == type_id:
                first = item.start * width // facts.num_frames
                last = max(first + 1, -(-item.stop * width // facts.num_frames))
                strip[first:last] = "█" * (min(last, width) - first)
        name = interaction_type(type_id).name
        lines.append(f"  {name:<10}{''.join(strip)}".rstrip())
    end = play_time(facts.num_frames)
    return [*lines, f"  {'':<10}0{end:>{width - 1}}"]
