"""The limit of preparing: one ffmpeg decodes, scales and encodes what a dataset holds of a recording."""

from __future__ import annotations

from pathlib import Path

import ffmpeg
import numpy as np

from pipeline.settings import BuildSettings
from pipeline.transcode.ffmpeg import ffmpeg_program
from shards.action_space import ACTION_SPACE
from shards.reader import Dataset


def kept_frames(dataset: Dataset) -> dict[str, np.ndarray]:
    """Recording -> the source frames that a dataset holds of it, ascending."""
    kept: dict[str, list[np.ndarray]] = {}
    for episode in range(len(dataset.episodes)):
        for row in dataset.clip_rows(episode):
            clip = dataset.read_clip(episode, row)
            for index in np.unique(clip.arrays.recording):
                frames = clip.arrays.source_frame[clip.arrays.recording == index]
                kept.setdefault(clip.info.recordings[index], []).append(frames)
    return {name: np.concatenate(frames) for name, frames in kept.items()}


def ffmpeg_command(video: Path, out: Path, frames: np.ndarray) -> list[str]:
    """Decode a recording, keep these frames, scale them and encode them as our clips are, one thread each."""
    settings = BuildSettings()
    breaks = np.flatnonzero(np.diff(frames) > 1)
    first, last = frames[np.concatenate(([0], breaks + 1))], frames[np.concatenate((breaks, [len(frames) - 1]))]
    chosen = "+".join(f"between(n,{a},{b})" for a, b in zip(first, last, strict=True))
    out.mkdir()
    stream = ffmpeg.input(str(video), threads=1).video
    stream = stream.filter("select", chosen).filter("setpts", f"N/{ACTION_SPACE.frames_per_second}/TB")
    stream = stream.filter("scale", settings.frame_width, settings.frame_height, flags="area")
    output = stream.output(
        f"{out}/%06d.mp4",
        **settings.codec_options(),
        r=ACTION_SPACE.frames_per_second,
        filter_threads=1,
        format="segment",
        segment_format="mp4",
        segment_time=settings.clip_frames / ACTION_SPACE.frames_per_second,
        reset_timestamps=1,
    )
    program = [ffmpeg_program(), "-nostdin", "-loglevel", "error"]
    command: list[str] = ffmpeg.compile(output, cmd=program)
    return command
