"""What the manifest alone says of a dataset: the facts behind `rocket-prep inspect`.

Nothing here opens a shard or reads more than the episodes' light columns, so that the answer comes at once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from shards.action_space import ACTION_SPACE
from shards.display.wording import frames_account
from shards.events import is_measure
from shards.interaction_types import interaction_type
from shards.reader import Dataset
from shards.schedule.watch_out import few_masks, no_validation
from shards.tally import Tally

_MINUTE, _HOUR = 60, 3600
_EDGES_SECONDS = (
    *(1, 2, 5, 10, 20, 30),
    *(_MINUTE * minutes for minutes in (1, 2, 5, 10, 20, 30)),
    *(_HOUR * hours for hours in (1, 2, 4, 8, 16)),
)
_SMALL_SHARE = 0.02
"""The histogram's first bin takes in at most this share of the episodes, if it can."""
_NUM_TOP_EVENTS = 5


@dataclass(frozen=True)
class Lengths:
    """How long episodes are, in frames, and a histogram of it: bin i covers [edges[i], edges[i + 1]).

    Bins get wider with the length, since play sessions last from seconds to hours.
    """

    min: int
    median: float
    mean: float
    max: int
    edges_frames: Sequence[int]
    num_episodes: Sequence[int]

    @classmethod
    def of(cls, num_frames: NDArray[np.integer[Any]]) -> Self:
        longest = int(num_frames.max())
        few = float(np.quantile(num_frames, _SMALL_SHARE))
        nice = [second * ACTION_SPACE.frames_per_second for second in _EDGES_SECONDS]
        low = max((edge for edge in nice if edge <= few), default=0)
        last = next((edge for edge in nice if edge > longest), longest + 1)
        edges = np.array([0, *(edge for edge in nice if max(low, 1) <= edge <= longest), last])
        counts = np.histogram(num_frames, edges)[0]
        filled = int(np.flatnonzero(counts)[0])
        return cls(
            min=int(num_frames.min()),
            median=float(np.median(num_frames)),
            mean=float(num_frames.mean()),
            max=longest,
            edges_frames=edges[filled:].tolist(),
            num_episodes=counts[filled:].tolist(),
        )


@dataclass(frozen=True)
class TypeFacts:
    """One interaction type: how many there are, the frames in which one has a mask, the most frequent events."""

    type: int
    name: str
    num_interactions: int
    num_frames: int
    top_events: Mapping[str, int]


@dataclass(frozen=True)
class ShardFacts:
    """How the shards' sizes and episodes spread."""

    num_shards: int
    min_bytes: int
    median_bytes: float
    max_bytes: int
    min_episodes: int
    max_episodes: int


@dataclass(frozen=True)
class RejectedFacts:
    """What was left out for one reason; `num_unknown` entries do not know their number of frames."""

    reason: str
    num_entries: int
    num_frames: int
    num_unknown: int
    example: str


@dataclass(frozen=True)
class Overview:
    """The facts of a dataset; `to_json` is what scripts get.

    Attributes:
        num_source_frames: of the recordings that the episodes came from.
        num_masked_frames: frames with at least one interaction's mask.
        num_overlap_frames: frames with several.
        events: by how much the game's counters rose, without those of time and distance.
        button_frames: for each button, the frames in which it is down.
        sources: recordings by the source that they came from.
    """

    path: str
    format_version: int
    fingerprint: str
    frame_width_px: int
    frame_height_px: int
    clip_frames: int
    keyframe_interval_frames: int
    num_episodes: int
    num_recordings: int
    num_clips: int
    num_frames: int
    num_source_frames: int
    hours: float
    num_bytes: int
    bytes_per_frame: float
    lengths: Lengths
    num_interactions: int
    num_masked_frames: int
    num_overlap_frames: int
    interactions: Sequence[TypeFacts]
    events: Mapping[str, int]
    button_frames: Mapping[str, int]
    num_camera_frames: int
    num_gui_frames: int
    shards: ShardFacts
    sources: Mapping[str, int]
    num_noop_frames: int
    num_rejected: int
    num_rejected_frames: int
    rejected: Sequence[RejectedFacts]
    codec: Mapping[str, Any]
    tools: Mapping[str, str]
    settings: Mapping[str, Any]

    def account(self) -> str:
        """What became of all source frames, as a sentence."""
        unknown = sum(facts.num_unknown for facts in self.rejected if facts.reason != "duplicate")
        return frames_account(self.num_frames, self.num_noop_frames, self.num_rejected_frames, unknown)

    def watch_out(self) -> list[str]:
        """What is odd about the data for training, whatever its settings, with the setting that changes it."""
        episodes_to_validate_on = self.num_episodes - 1  # a split leaves one at least to train on
        found = [
            few_masks(self.num_masked_frames, self.num_frames),
            no_validation(episodes_to_validate_on, self.num_episodes),
        ]
        return [line for line in found if line]

    def share(self, num_frames: float) -> float:
        """A number of frames as a share of all frames."""
        return num_frames / self.num_frames

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def overview_of(*datasets: Dataset) -> Overview:
    """The facts of a dataset, or of several together; how it was made is that of the first.

    Raises:
        DatasetError: if its manifest is damaged.
        OSError: if its storage fails.
    """
    info, lengths = datasets[0].info, np.concatenate([one.episodes.num_frames for one in datasets])
    counts = _sum([one.info.counts for one in datasets])
    tally = Tally.from_json(_sum([one.info.tally for one in datasets]))
    num_frames, num_bytes = int(lengths.sum(dtype=np.int64)), counts["num_bytes"]
    return Overview(
        path=", ".join(one.path for one in datasets),
        format_version=info.format_version,
        fingerprint=info.fingerprint,
        frame_width_px=info.frame_width,
        frame_height_px=info.frame_height,
        clip_frames=info.clip_frames,
        keyframe_interval_frames=info.keyframe_interval,
        num_episodes=len(lengths),
        num_recordings=sum(tally.sources.values()),
        num_clips=counts["num_clips"],
        num_frames=num_frames,
        num_source_frames=tally.num_source_frames,
        hours=num_frames / ACTION_SPACE.frames_per_second / 3600,
        num_bytes=num_bytes,
        bytes_per_frame=num_bytes / num_frames,
        lengths=Lengths.of(lengths),
        num_interactions=sum(of_type.num_interactions for of_type in tally.interactions.values()),
        num_masked_frames=tally.num_masked_frames,
        num_overlap_frames=tally.num_overlap_frames,
        interactions=[
            TypeFacts(
                type=type_id,
                name=interaction_type(type_id).name,
                num_interactions=of_type.num_interactions,
                num_frames=of_type.num_frames,
                top_events=_most_frequent(of_type.events, _NUM_TOP_EVENTS),
            )
            for type_id, of_type in sorted(tally.interactions.items())
        ],
        events=_most_frequent({name: number for name, number in tally.events.items() if not is_measure(name)}),
        button_frames=tally.buttons,
        num_camera_frames=tally.num_camera_frames,
        num_gui_frames=tally.num_gui_frames,
        shards=_shard_facts(datasets),
        sources=_most_frequent(tally.sources),
        num_noop_frames=counts["num_noop_frames"],
        num_rejected=counts["num_rejected"],
        num_rejected_frames=counts["num_rejected_frames"],
        rejected=_rejected_facts([record for one in datasets for record in one.rejected()]),
        codec=info.codec,
        tools=info.tools,
        settings=info.settings,
    )


def _sum(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The records added up, key by key; numbers and records of numbers."""
    total: dict[str, Any] = {}
    for record in records:
        for key, value in record.items():
            if isinstance(value, Mapping):
                total[key] = _sum([total.get(key, {}), value])
            else:
                total[key] = total.get(key, 0) + value
    return total


def _shard_facts(datasets: Sequence[Dataset]) -> ShardFacts:
    sizes = np.array([size for one in datasets for size in one.info.files["shard_bytes"]], np.int64)
    episodes = np.concatenate(
        [np.bincount(one.episodes.shard, minlength=one.info.counts["num_shards"]) for one in datasets]
    )
    return ShardFacts(
        num_shards=len(sizes),
        min_bytes=int(sizes.min()),
        median_bytes=float(np.median(sizes)),
        max_bytes=int(sizes.max()),
        min_episodes=int(episodes.min()),
        max_episodes=int(episodes.max()),
    )


def _rejected_facts(entries: Sequence[dict[str, Any]]) -> list[RejectedFacts]:
    """Reasons in the order of how many frames they cost."""
    by_reason: dict[str, list[dict[str, Any]]] = {}
    for record in entries:
        by_reason.setdefault(str(record.get("reason", "unknown")), []).append(record)
    facts = [
        RejectedFacts(
            reason=reason,
            num_entries=len(records),
            num_frames=sum(int(record.get("num_frames") or 0) for record in records),
            num_unknown=sum(record.get("num_frames") is None for record in records),
            example=f"{records[0].get('recording', '?')}: {records[0].get('detail', '')}",
        )
        for reason, records in by_reason.items()
    ]
    return sorted(facts, key=lambda fact: (-fact.num_frames, -fact.num_entries, fact.reason))


def _most_frequent(counts: Mapping[str, int], limit: int | None = None) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:limit])
