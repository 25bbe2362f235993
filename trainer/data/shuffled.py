"""Shuffled windows without memory, read through webdataset's own pipeline.

    shards of a group, shuffled -> 4 streams in turn -> tar members -> clips -> windows -> shuffle buffer -> lanes

Each group of lanes has a stream of its own, so the order depends on the number of groups but on no rank and no
loader process. The pipeline handles bytes only; loader processes decode.
"""

import io
import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import webdataset
from webdataset.mix import RoundRobin
from webdataset.tariterators import group_by_keys, tar_file_expander

from shards.clip import CORE_MEMBERS, EXTENSIONS
from shards.manifest import shard_name
from shards.schedule.collection import Collection
from shards.schedule.draws import draw_order, stream
from shards.schedule.lanes import LanePlan, Window
from shards.storage import Storage
from trainer.data.source import Assignment, EpisodeSource

NUM_STREAMS = 4
"""Shards of a group that are read at a time."""
SHUFFLED_WINDOWS = 256
"""Windows of a group among which the next one is drawn; each keeps its clips' bytes in memory."""
_READ_BYTES = 4 << 20


class ShuffledSteps:
    """Steps of windows in shuffled order: every window of the split once an epoch."""

    def __init__(
        self,
        plan: LanePlan,
        rows: range,
        collection: Collection,
        source: EpisodeSource,
    ) -> None:
        """Open nothing yet."""
        self._plan, self._rows, self._collection, self._source = plan, rows, collection, source
        self._lanes_per_group = plan.settings.lanes_per_group
        self._groups = sorted({lane // self._lanes_per_group for lane in rows})
        self._streams: dict[int, Iterator[Assignment]] = {}
        self._at = (-1, -1)

    @property
    def num_steps(self) -> int:
        return self._plan.num_steps

    def read(self, epoch: int, step: int) -> list[tuple[int, Assignment | None]]:
        """For each row its lane, and what that gets; None is padding. Cheapest in order of steps."""
        if self._at != (epoch, step):
            self._streams = {group: self._stream(group, epoch) for group in self._groups}
            for _ in range(step):  # read, not decoded
                self._advance()
        assignments = self._advance()
        self._at = (epoch, step + 1)
        return list(zip(self._rows, assignments, strict=True))

    def _advance(self) -> list[Assignment | None]:
        by_lane = {
            group * self._lanes_per_group + place: next(self._streams[group], None)
            for group in self._groups
            for place in range(self._lanes_per_group)
        }
        return [by_lane[lane] for lane in self._rows]

    def _stream(self, group: int, epoch: int) -> Iterator[Assignment]:
        """The windows of a group's episodes, each once, shuffled."""
        draws = ("shuffled", self._collection.fingerprint, self._plan.settings.seed, epoch, group)
        episodes = set(self._plan.episodes[self._plan.group_of == group].tolist())
        shards = np.unique(self._collection.shard[sorted(episodes)])
        shards = shards[draw_order(len(shards), *draws)]
        streams = [
            webdataset.DataPipeline(
                partial(self._open, shards[first::NUM_STREAMS].tolist()),
                tar_file_expander,
                group_by_keys,
                lambda clips: self._windows(clips, episodes, epoch),
            )
            for first in range(min(NUM_STREAMS, len(shards)))
        ]
        seed = int(stream(*draws, "buffer").random_raw())
        shuffle = webdataset.shuffle(SHUFFLED_WINDOWS, initial=SHUFFLED_WINDOWS, rng=random.Random(seed))
        return iter(webdataset.DataPipeline(RoundRobin(streams, longest=True), shuffle))

    def _open(self, shards: Sequence[int]) -> Iterator[dict[str, Any]]:
        for number in shards:
            dataset, shard = self._collection.locate_shard(number)
            name = shard_name(shard)
            file = _ShardFile(dataset.storage, name, dataset.info.files["shard_bytes"][shard])
            # The number tells the shard; the address is only what webdataset shows in its messages.
            yield {
                "url": f"{number} {dataset.path}/{name}",
                "stream": io.BufferedReader(file, _READ_BYTES),
            }

    def _windows(self, clips: Iterable[dict[str, Any]], episodes: set[int], epoch: int) -> Iterator[Assignment]:
        """The windows of the episodes among these clips, each as soon as its last clip is there."""
        held: list[tuple[int, dict[str, bytes]]] = []  # the clips that the next window may need: (number, members)
        episode, at = -1, 0
        window_frames = self._plan.settings.window_frames
        for sample in clips:
            episode_id, _, number = sample["__key__"].rpartition("/")
            found = self._collection.find(int(sample["__url__"].split()[0]), episode_id)
            if found not in episodes:
                continue
            if found != episode:
                episode, at, held = found, 0, []
            held.append((int(number), {name: sample[EXTENSIONS[name]] for name in CORE_MEMBERS}))
            rows = self._source.facts(episode, epoch).clips
            num_frames = int(self._collection.num_frames[episode])
            reached = rows[held[-1][0]].start_frame + rows[held[-1][0]].num_frames
            while at < num_frames and (stop := min(at + window_frames, num_frames)) <= reached:
                window = Window(episode, at, stop, at // window_frames, first=True, last=True)
                assignment = self._source.assign(window, epoch)
                wanted = {row.clip for row in assignment.task.source.clips}
                members = tuple(members for clip, members in held if clip in wanted)
                task_source = replace(assignment.task.source, members=members)
                yield replace(assignment, task=replace(assignment.task, source=task_source))
                at = stop
            held = [one for one in held if rows[one[0]].start_frame + rows[one[0]].num_frames > at]


class _ShardFile(io.RawIOBase):
    """A shard as a file that is read from its beginning to its end."""

    def __init__(self, storage: Storage, name: str, num_bytes: int) -> None:
        self._storage, self._name, self._num_bytes, self._at = storage, name, num_bytes, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        stop = min(self._at + len(buffer), self._num_bytes)
        data = self._storage.read_range(self._name, self._at, stop) if stop > self._at else b""
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)
