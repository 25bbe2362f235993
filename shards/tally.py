"""What all episodes of a dataset add up to: summed up while the manifest is written, kept in dataset.json.

So whoever asks what is in a dataset need not read its tables, however large they are.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from shards.action_space import ACTION_SPACE
from shards.errors import DatasetError
from shards.manifest import EPISODES_FILE

_Key = TypeVar("_Key")


@dataclass
class InteractionTally:
    """The interactions of one type.

    Attributes:
        num_frames: frames with at least one mask of that type.
        events: how many interactions have that event.
    """

    num_interactions: int = 0
    num_frames: int = 0
    events: dict[str, int] = field(default_factory=dict)


@dataclass
class Tally:
    """What some episodes add up to.

    Attributes:
        interactions: by type.
        num_masked_frames: frames with at least one interaction's mask.
        num_overlap_frames: frames with several.
        buttons: for each of ACTION_SPACE.buttons, the frames in which it is down.
        sources: recordings by source.
        events: for each name by how much its counter rose.
    """

    interactions: dict[int, InteractionTally] = field(default_factory=dict)
    num_masked_frames: int = 0
    num_overlap_frames: int = 0
    buttons: dict[str, int] = field(default_factory=lambda: dict.fromkeys(ACTION_SPACE.buttons, 0))
    num_camera_frames: int = 0
    num_gui_frames: int = 0
    num_source_frames: int = 0
    sources: dict[str, int] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=dict)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """The sums of a record that `to_json` gave, whether or not it has been through a file."""
        types = {int(type_id): InteractionTally(**fields) for type_id, fields in record["interactions"].items()}
        return cls(**{**record, "interactions": types})

    def to_json(self) -> dict[str, Any]:
        """The sums as what JSON can hold."""
        types = {str(type_id): asdict(tally) for type_id, tally in sorted(self.interactions.items())}
        return {**asdict(self), "interactions": types}

    def add(self, table: pa.Table) -> None:
        """The episodes of these rows of episodes.parquet are counted, too.

        Raises:
            DatasetError: if candidate runs name interactions that their episode does not have.
        """
        self._add_interactions(table)
        recordings = _array(table, "recordings").flatten()
        for entry in recordings.field("source").value_counts().to_pylist():
            _count(self.sources, entry["values"], entry["counts"])
        self.num_source_frames += _sum(recordings.field("num_source_frames"))
        buttons = np.asarray(_array(table, "button_counts").flatten()).reshape(-1, len(ACTION_SPACE.buttons))
        for button, number in zip(ACTION_SPACE.buttons, buttons.sum(axis=0, dtype=np.int64).tolist(), strict=True):
            self.buttons[button] += number
        events = _array(table, "events").flatten()
        for name, number in zip(events.field("name").to_pylist(), events.field("count").to_pylist(), strict=True):
            _count(self.events, name, number)
        self.num_camera_frames += _sum(_array(table, "num_camera_frames"))
        self.num_gui_frames += _sum(_array(table, "num_gui_frames"))

    def _add_interactions(self, table: pa.Table) -> None:
        column = _array(table, "interactions")
        first_of_episode, num_interactions = _offsets(column)[:-1], np.diff(_offsets(column))
        interactions = column.flatten()
        types = np.asarray(interactions.field("type")).view(np.uint8)
        counts = np.bincount(types, minlength=256)
        known = np.flatnonzero(counts)
        names_of = known.astype(np.uint8).view(np.int8).tolist()  # -1 was 255
        kind_of_type = np.zeros(256, np.uint16)
        kind_of_type[known] = np.arange(len(known))
        kind = kind_of_type[types]
        for type_id, number in zip(names_of, counts[known].tolist(), strict=True):
            self.interactions.setdefault(type_id, InteractionTally()).num_interactions += number
        events = interactions.field("event").dictionary_encode()
        names = events.dictionary.to_pylist()
        pairs = np.bincount(kind.astype(np.int64) * len(names) + np.asarray(events.indices))
        for place in np.flatnonzero(pairs).tolist():
            of_type = self.interactions[names_of[place // len(names)]]
            _count(of_type.events, names[place % len(names)], int(pairs[place]))

        # Episode -> its runs -> their interactions (counted in the episode), all flat.
        runs_column = _array(table, "candidate_runs")
        runs = runs_column.flatten()
        lengths = (np.asarray(runs.field("stop")) - np.asarray(runs.field("start"))).astype(np.int64)
        named = runs.field("interactions")
        num_named = np.diff(_offsets(named))
        of_run = np.repeat(np.stack([first_of_episode, num_interactions]), np.diff(_offsets(runs_column)), axis=1)
        first, number = np.repeat(of_run, num_named, axis=1)
        place_in_episode = np.asarray(named.flatten())
        unknown = (place_in_episode < 0) | (place_in_episode >= number)
        if unknown.any():
            raise DatasetError(
                f"{EPISODES_FILE}: candidate_runs: got interaction {place_in_episode[unknown][0]}, expected one "
                f"of the {number[unknown][0]} that its episode has. Copy the dataset again or build it again from "
                "its sources."
            )
        bits = np.left_shift(np.uint16(1), kind)[first + place_in_episode]
        lengths, num_named = lengths[num_named > 0], num_named[num_named > 0]
        if not lengths.size:
            return
        kinds_of_run = np.bitwise_or.reduceat(bits, np.cumsum(num_named) - num_named)
        self.num_masked_frames += int(lengths.sum())
        self.num_overlap_frames += int(lengths[num_named > 1].sum())
        for place, type_id in enumerate(names_of):
            self.interactions[type_id].num_frames += int(lengths[kinds_of_run & (1 << place) != 0].sum())


def _count(counts: dict[_Key, int], key: _Key, number: int) -> None:
    counts[key] = counts.get(key, 0) + number


def _array(table: pa.Table, name: str) -> Any:
    return table[name].combine_chunks()


def _offsets(lists: Any) -> NDArray[np.int64]:
    """Where each list's values start among `lists.flatten()`, and where the last ones stop."""
    offsets: NDArray[np.int64] = np.asarray(lists.offsets).astype(np.int64)
    offsets -= offsets[0]
    return offsets


def _sum(values: Any) -> int:
    return int(np.asarray(values).sum(dtype=np.int64))
