"""The limit: libavcodec decodes the same clips, from memory, one thread, and nothing is done with the frames."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import av

from benchmarks.loaders import NUM_LANES, Batch, Options, Row
from shards.reader import open_dataset


class Decoder:
    def __init__(self, options: Options) -> None:
        dataset = open_dataset(options.data)
        self._clips = []
        for episode, episode_id in enumerate(dataset.episodes.ids):
            for row in dataset.clip_rows(episode):
                where = Row(episode_id, row.start_frame, row.start_frame + row.num_frames)
                self._clips.append((where, dataset.read_clip(episode, row).video))

    def epoch(self) -> Iterator[Batch]:
        for start in range(0, len(self._clips), NUM_LANES):
            clips = self._clips[start : start + NUM_LANES]
            for where, video in clips:
                with av.open(io.BytesIO(video), format="mp4") as container:
                    container.streams.video[0].codec_context.thread_count = 1
                    num_frames = sum(1 for _ in container.decode(video=0))
                assert num_frames == where.stop - where.start
            yield Batch([where for where, _ in clips])

    def state(self) -> Any:
        raise NotImplementedError

    def restore(self, state: Any) -> None:
        raise NotImplementedError


def open_loader(options: Options) -> Decoder:
    return Decoder(options)
