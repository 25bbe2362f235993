"""From a window of the schedule to all that is needed to fill its row: clips, goals, variation."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from shards.action_space import ACTION_SPACE
from shards.interaction_types import NO_INTERACTION
from shards.manifest import ClipRow
from shards.schedule.collection import Collection
from shards.schedule.goals import NO_GOAL, choose_goals
from shards.schedule.lanes import Window
from shards.windows import WindowSource, clips_of_window
from trainer.data.augment import draw_augmentation
from trainer.data.fill import WindowTask


@dataclass(frozen=True)
class EpisodeFacts:
    """What the manifest and the draws say of an episode in an epoch.

    Attributes:
        goals: the interaction that each frame shows, i32 (num_frames,); None without segmentation.
        types: its type, i8 (num_frames,).
        watched: whether validation watches it, bool (num_frames,): its goal's event; without masks, what the game
            counted in it or within a second from it.
    """

    dataset: str
    shard: int
    episode_id: str
    clips: list[ClipRow]
    goals: NDArray[np.int32] | None
    types: NDArray[np.int8]
    watched: NDArray[np.bool_]


@dataclass(frozen=True)
class Assignment:
    """A lane's window: what it is, how to read it, and what the manifest says of its n frames.

    Attributes:
        types: the type of each frame's goal, i8 (n,).
        watched: whether validation watches it, bool (n,).
    """

    window: Window
    task: WindowTask
    types: NDArray[np.int8]
    watched: NDArray[np.bool_]


WATCHED_BEFORE_EVENT = ACTION_SPACE.frames_per_second
"""Frames before an event that are watched with it where no masks tell when the interaction began: a second."""


class EpisodeSource:
    """Facts of episodes, those of the last few kept: a lane asks for the same one window after window."""

    def __init__(
        self,
        collection: Collection,
        *,
        seed: int,
        enable_segment: bool,
        augment: bool,
        watch_events: Sequence[str],
        num_kept: int,
    ) -> None:
        self._collection, self._seed = collection, seed
        self._enable_segment, self._augment = enable_segment, augment
        self._watch_events = tuple(watch_events)
        self.facts: Callable[[int, int], EpisodeFacts] = lru_cache(num_kept)(self._read)
        """The facts of an episode of the collection in an epoch."""

    def assign(self, window: Window, epoch: int) -> Assignment:
        """The window with all that its row needs."""
        facts = self.facts(window.episode, epoch)
        frames = slice(window.start, window.stop)
        source = WindowSource(
            dataset=facts.dataset,
            shard=facts.shard,
            episode_id=facts.episode_id,
            start=window.start,
            stop=window.stop,
            clips=clips_of_window(facts.clips, window.start, window.stop),
            goals=None if facts.goals is None else facts.goals[frames],
        )
        augmentation = draw_augmentation(self._seed, epoch, facts.episode_id) if self._augment else None
        return Assignment(window, WindowTask(source, augmentation), facts.types[frames], facts.watched[frames])

    def _read(self, episode: int, epoch: int) -> EpisodeFacts:
        dataset, local = self._collection.locate(episode)
        episode_id = dataset.episodes.ids[local]
        num_frames = int(dataset.episodes.num_frames[local])
        types = np.full(num_frames, NO_INTERACTION, np.int8)
        watched = np.zeros(num_frames, np.bool_)
        goals = None
        if self._enable_segment:
            goals = choose_goals(
                dataset.candidate_runs(local), num_frames, seed=self._seed, epoch=epoch, episode_id=episode_id
            )
            interactions = dataset.interactions(local)
            shown = goals != NO_GOAL
            types[shown] = np.array([one.type for one in interactions], np.int8)[goals[shown]]
            watch = [any(part in one.event for part in self._watch_events) for one in interactions]
            watched[shown] = np.array(watch, np.bool_)[goals[shown]]
        if self._watch_events and not (self._enable_segment and len(dataset.interactions(local))):
            for row in dataset.event_rows(local):
                if any(part in row.name for part in self._watch_events):
                    for frame in row.frames:
                        watched[max(frame - WATCHED_BEFORE_EVENT, 0) : frame + 1] = True
        return EpisodeFacts(
            dataset=dataset.path,
            shard=int(dataset.episodes.shard[local]),
            episode_id=episode_id,
            clips=dataset.clip_rows(local),
            goals=goals,
            types=types,
            watched=watched,
        )
