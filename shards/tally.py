"""What all episodes of a dataset add up to: summed up while the manifest is written, kept in dataset.json.

So whoever asks what is in a dataset need not read its tables, however large they are.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from shards.action_space import ACTION_SPACE
from shards.errors import DatasetError
from shards.manifest import EPISODES_FILE


@dataclass
class InteractionTally:
    """The interactions of one type.

    Attributes:
        num_frames: frames with at least one mask of that type.
        events: how many interactions have that event.
    """

    num_interactions: int = 0
    num_frames: int = 0
    events: Counter[str] = field(default_factory=Counter)


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
    sources: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Self:
        """The sums of a record that `to_json` gave, whether or not it has been through a file."""
        types = {int(type_id): InteractionTally(**fields) for type_id, fields in record["interactions"].items()}
        return cls(**{**record, "interactions": types})

    def to_json(self) -> dict[str, Any]:
        types = {str(type_id): vars(tally) for type_id, tally in sorted(self.interactions.items())}
        return {**vars(self), "interactions": types}

    def add(self, episode: Mapping[str, Any]) -> None:
        """The episode of this row of episodes.parquet is counted, too.

        Raises:
            DatasetError: if a candidate run names an interaction that the episode does not have.
        """
        type_of = {place: interaction["type"] for place, interaction in enumerate(episode["interactions"])}
        for interaction in episode["interactions"]:
            of_type = self.interactions.setdefault(interaction["type"], InteractionTally())
            of_type.num_interactions += 1
            of_type.events[interaction["event"]] += 1
        for run in episode["candidate_runs"]:
            named, length = run["interactions"], run["stop"] - run["start"]
            try:
                types = {type_of[place] for place in named}
            except KeyError as unknown:
                raise DatasetError(
                    f"{EPISODES_FILE}: candidate_runs: got interaction {unknown}, expected one of the "
                    f"{len(type_of)} that its episode has. Copy the dataset again or build it again from its "
                    "sources."
                ) from None
            self.num_masked_frames += length if named else 0
            self.num_overlap_frames += length if len(named) > 1 else 0
            for type_id in types:
                self.interactions[type_id].num_frames += length
        for recording in episode["recordings"]:
            self.sources[recording["source"]] += 1
            self.num_source_frames += recording["num_source_frames"]
        for button, number in zip(ACTION_SPACE.buttons, episode["button_counts"], strict=True):
            self.buttons[button] += number
        for event in episode["events"]:
            self.events[event["name"]] += event["count"]
        self.num_camera_frames += episode["num_camera_frames"]
        self.num_gui_frames += episode["num_gui_frames"]
