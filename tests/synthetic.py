"""Small datasets for tests, made without the pipeline. A frame shows its number, so that a shift is seen."""

import fractions
import io
from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np

from shards.action_space import ACTION_SPACE
from shards.clip import Clip, ClipArrays, ClipInfo, Interaction
from shards.manifest import DatasetInfo, EpisodeRow, RecordingRow
from shards.manifest_writer import write_manifest
from shards.masks import encode_runs
from shards.writer import PartWriter, join_parts

BUTTONS = ACTION_SPACE.buttons

HEIGHT, WIDTH, KEYFRAME_INTERVAL = 32, 48, 8


def frame_yuv(episode: int, frame: int) -> np.ndarray:
    """A flat picture (H * 3/2, W): luma tells the frame number modulo 50, chroma the episode modulo 20."""
    yuv = np.empty((HEIGHT * 3 // 2, WIDTH), np.uint8)
    yuv[:HEIGHT] = 20 + 4 * (frame % 50)
    yuv[HEIGHT:] = 40 + 8 * (episode % 20)
    return yuv


def frame_number(yuv: np.ndarray) -> int:
    """The frame number modulo 50 that a decoded picture shows."""
    return round((float(yuv[:HEIGHT].mean()) - 20) / 4)


def episode_number(yuv: np.ndarray) -> int:
    """The episode number modulo 20 that a decoded picture shows."""
    return round((float(yuv[HEIGHT:].mean()) - 40) / 8)


def encode(frames: Sequence[np.ndarray]) -> bytes:
    """An mp4 of these pictures as a clip holds it."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=20)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.time_base = fractions.Fraction(1, 20)
        stream.codec_context.thread_count = 1
        stream.options = {"preset": "veryfast", "crf": "10", "g": str(KEYFRAME_INTERVAL), "sc_threshold": "0"}
        for number, yuv in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(yuv, format="yuv420p")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return buffer.getvalue()


def episode_interactions(num_frames: int) -> list[Interaction]:
    """Stretches of 20 frames that begin every 12 frames: neighbours overlap, frames 0 to 3 belong to none."""
    return [
        Interaction(
            type=(2, 3, 0)[index % 3], event=f"event_{index}", start=start, stop=min(start + 20, num_frames)
        )
        for index, start in enumerate(range(4, max(num_frames - 8, 5), 12))
        if start < num_frames
    ]


def mask_of(interaction: int, frame: int) -> np.ndarray:
    """A rectangle whose row tells the interaction and whose column tells the frame."""
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[interaction % HEIGHT, frame % WIDTH] = True
    return mask


def candidate_of(arrays: ClipArrays, frame: int, interaction: int) -> int | None:
    """The candidate that shows this interaction in this frame, if there is one."""
    first, last = arrays.candidate_offsets[frame : frame + 2]
    return next((i for i in range(first, last) if arrays.candidate_interaction[i] == interaction), None)


def actions_of(episode: int, frame: int) -> tuple[np.ndarray, np.ndarray]:
    """Buttons (23,) and camera (2,) that tell episode and frame."""
    buttons = np.array([(episode * 7 + frame) >> bit & 1 for bit in range(len(BUTTONS))], np.uint8)
    return buttons, np.array([frame % 11 - 5, 0.15 * (episode % 7)])


EVENT_NAMES = ("custom:jump", "mine_block:stone")


def events_of(frame: int) -> list[tuple[int, int]]:
    """The events (name, count) of a frame: a jump every seven frames, two stones in every tenth from 3 on."""
    return [(0, 1)] * (frame % 7 == 0) + [(1, 2)] * (frame % 10 == 3)


def log_line(frame: int) -> bytes:
    """The line of a frame's log."""
    return b'{"tick":%d}\n' % frame


def make_clip(episode: int, episode_id: str, clip: int, clip_frames: int, num_frames: int) -> Clip:
    """Clip `clip` of an episode with `num_frames` frames."""
    frames = range(clip * clip_frames, min((clip + 1) * clip_frames, num_frames))
    interactions = episode_interactions(num_frames)
    candidates = [[i for i, x in enumerate(interactions) if x.start <= f < x.stop] for f in frames]
    runs = [encode_runs(mask_of(i, f)) for f, names in zip(frames, candidates, strict=True) for i in names]
    actions = [actions_of(episode, frame) for frame in frames]
    names = [i for candidate in candidates for i in candidate]
    events = [(place, name, count) for place, frame in enumerate(frames) for name, count in events_of(frame)]
    columns = np.array(events, np.int64).reshape(-1, 3).T
    arrays = ClipArrays(
        buttons=np.stack([buttons for buttons, _ in actions]),
        camera=np.stack([camera for _, camera in actions]),
        recording=np.zeros(len(frames), np.uint16),
        source_frame=np.array(frames, np.int32),
        dropped_before=np.zeros(len(frames), np.int32),
        gui=np.zeros(len(frames), np.uint8),
        candidate_offsets=np.cumsum([0, *map(len, candidates)]).astype(np.int32),
        candidate_interaction=np.array(names, np.int32),
        candidate_point=np.full((len(names), 2), 0.5, np.float32),
        mask_offsets=np.cumsum([0, *map(len, runs)]).astype(np.int64),
        mask_runs=np.concatenate(runs) if runs else np.zeros(0, np.uint32),
        event_frame=columns[0].astype(np.int32),
        event_name=columns[1].astype(np.int32),
        event_count=columns[2].copy(),
    )
    info = ClipInfo(
        episode_id=episode_id,
        clip=clip,
        start_frame=frames.start,
        num_frames=len(frames),
        recordings=[f"{episode_id}-recording"],
        interactions={i: interactions[i] for i in sorted(set(names))},
        events={name: EVENT_NAMES[name] for name in sorted({name for _, name, _ in events})},
    )
    video = encode([frame_yuv(episode, frame) for frame in frames])
    return Clip(video, arrays, info, log=b"".join(log_line(frame) for frame in frames))


def make_dataset(folder: Path, shards: Sequence[Sequence[int]], clip_frames: int = 16) -> DatasetInfo:
    """A dataset whose shard s holds episodes of `shards[s]` frames each, named ep000, ep001, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[list[EpisodeRow]] = []
    episode = 0
    for shard, lengths in enumerate(shards):
        part = folder / f"part-{shard}"
        with PartWriter(part) as writer:
            for num_frames in lengths:
                episode_id = f"ep{episode:03d}"
                for clip in range(-(-num_frames // clip_frames)):
                    writer.add_clip(make_clip(episode, episode_id, clip, clip_frames, num_frames))
                recordings = [
                    RecordingRow(f"{episode_id}-recording", "synthetic", num_frames, num_frames, num_frames)
                ]
                writer.end_episode(episode_id, recordings, episode_interactions(num_frames))
                episode += 1
        rows.append(join_parts([(part, writer.rows)], folder / f"{shard:06d}.tar"))
        part.unlink()
    return write_dataset(folder, rows, clip_frames)


def write_dataset(folder: Path, rows: Sequence[Sequence[EpisodeRow]], clip_frames: int = 16) -> DatasetInfo:
    """The folder's shards, whose episodes are given, become a dataset."""
    return write_manifest(
        folder,
        rows,
        [],
        frame_size_px=(WIDTH, HEIGHT),
        clip_frames=clip_frames,
        keyframe_interval=KEYFRAME_INTERVAL,
        codec={"name": "libx264"},
        tools={},
        settings={},
    )
