"""A small dataset, made on the spot: a moving texture, encoded once as the product encodes, in many episodes."""

from __future__ import annotations

import contextlib
from pathlib import Path

import numpy as np

from pipeline.settings import BuildSettings
from pipeline.transcode.encoding import ClipEncoder
from shards.action_space import ACTION_SPACE
from shards.clip import Clip, ClipArrays, ClipInfo, Interaction
from shards.manifest import RecordingRow
from shards.manifest_writer import write_manifest
from shards.masks import encode_runs
from shards.writer import PartWriter, join_parts

_NUM_SHARDS = 4
_PIXELS_PER_FRAME = 3
"""How far the texture moves."""
_NOISE = 8
"""Levels of luma; with them a frame takes about as many bytes as one of a contractor's."""


def make_dataset(folder: Path, size_px: int, clip_frames: int, num_episodes: int, clips_per_episode: int) -> Path:
    """The folder is a dataset; every episode has the same pictures, and actions and masks of its own."""
    settings = BuildSettings(
        frame_width=size_px,
        frame_height=size_px,
        clip_frames=clip_frames,
        keyframe_interval=min(clip_frames, 32),
        min_frames=1,
    )
    folder.mkdir(parents=True)
    videos = _encode(settings, folder / "clips", clips_per_episode)
    rows = []
    for shard in range(_NUM_SHARDS):
        part = folder / f"part-{shard}"
        with PartWriter(part) as writer:
            for episode in range(shard, num_episodes, _NUM_SHARDS):
                _write_episode(writer, f"check-{episode:03d}", videos, settings)
        rows.append(join_parts([(part, writer.rows)], folder / f"{shard:06d}.tar"))
        part.unlink()
    write_manifest(
        folder,
        rows,
        [],
        frame_size_px=(size_px, size_px),
        clip_frames=clip_frames,
        keyframe_interval=settings.keyframe_interval,
        codec=settings.codec_record(),
        tools={},
        settings=settings.model_dump(),
    )
    return folder


def _encode(settings: BuildSettings, folder: Path, num_clips: int) -> list[bytes]:
    size = settings.frame_width
    draw = np.random.default_rng(0)
    texture = np.kron(draw.integers(16, 230, (size // 4, size // 4), np.uint8), np.ones((4, 4), np.uint8))
    chroma = np.full(size * size // 2, 128, np.uint8)
    videos: list[bytes] = []
    with contextlib.closing(ClipEncoder(settings, folder, where="gpu-check")) as encoder:
        for frame in range(num_clips * settings.clip_frames):
            moved = np.roll(texture, (frame, _PIXELS_PER_FRAME * frame), (0, 1))
            luma = moved + draw.integers(0, _NOISE, moved.shape, np.uint8)
            encoder.write([luma.reshape(-1).data, chroma.data])
            videos += encoder.take_finished()
        videos += encoder.finish()
    assert len(videos) == num_clips, len(videos)
    return videos


def _write_episode(writer: PartWriter, episode_id: str, videos: list[bytes], settings: BuildSettings) -> None:
    """Actions are drawn; one interaction with a mask covers the whole episode."""
    frames, size = settings.clip_frames, settings.frame_width
    num_frames = frames * len(videos)
    interaction = Interaction(type=2, event="mine_block:stone", start=0, stop=num_frames)
    draw = np.random.default_rng(sum(episode_id.encode()))
    for number, video in enumerate(videos):
        masks = np.zeros((frames, size, size), np.bool_)
        for frame in range(frames):
            masks[frame, frame % (size // 2) :, : size // 2] = True
        runs = [encode_runs(mask) for mask in masks]
        arrays = ClipArrays(
            buttons=(draw.random((frames, len(ACTION_SPACE.buttons))) < 0.1).astype(np.uint8),
            camera=draw.normal(0, 3, (frames, 2)),
            recording=np.zeros(frames, np.uint16),
            source_frame=np.arange(number * frames, (number + 1) * frames, dtype=np.int32),
            dropped_before=np.zeros(frames, np.int32),
            gui=np.zeros(frames, np.uint8),
            candidate_offsets=np.arange(frames + 1, dtype=np.int32),
            candidate_interaction=np.zeros(frames, np.int32),
            candidate_point=np.full((frames, 2), 0.5, np.float32),
            mask_offsets=np.cumsum([0, *map(len, runs)]).astype(np.int64),
            mask_runs=np.concatenate(runs),
            event_frame=np.zeros(0, np.int32),
            event_name=np.zeros(0, np.int32),
            event_count=np.zeros(0, np.int64),
        )
        info = ClipInfo(episode_id, number, number * frames, frames, [episode_id], {0: interaction}, {})
        writer.add_clip(Clip(video, arrays, info))
    writer.end_episode(
        episode_id, [RecordingRow(episode_id, "gpu-check", num_frames, num_frames, num_frames)], [interaction]
    )
