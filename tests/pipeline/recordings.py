"""Tiny contractor recordings whose every frame and action tells its own number, and how to read them back.

A frame of 96x64 px is a 4 x 4 grid of black and white blocks: 16 bits, the recording's number (4) and the frame's
(12), most significant first. The action of frame i turns the camera by i + 1 mouse pixels, unless it is a no-op.
"""

import json
import pickle
import subprocess
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np

from pipeline.recording import EPISODE_START, CarryState, Extent, Recording, RecordingContent
from pipeline.settings import BuildSettings
from pipeline.sources import source_of
from pipeline.sources.masks import RecordingMasks
from pipeline.transcode.ffmpeg import ffmpeg_program
from shards.reader import open_dataset
from shards.video import decode_yuv

WIDTH, HEIGHT = 96, 64
DEGREES_PER_PIXEL = 0.15
TINY_SETTINGS = {
    "frame_width": 32,
    "frame_height": 32,
    "clip_frames": 16,
    "keyframe_interval": 8,
    "preset": "ultrafast",
    "min_frames": 4,
    "shard_frames": 60,
}
TINY = BuildSettings(**TINY_SETTINGS)
TINY_WORDS = [f"{key}={value}" for key, value in TINY_SETTINGS.items()]
FIRST_START = datetime.fromisoformat("2021-12-31T23:59:57")


@dataclass
class TinyRecording:
    """What a recording holds; ranges are (first, stop) in its frames."""

    number: int
    num_frames: int
    alias: str = "tiny-blue-fox"
    start: datetime = FIRST_START
    num_video_frames: int | None = None
    noops: Collection[int] = ()
    gui: tuple[int, int] = (0, 0)
    interactions: Sequence[tuple[int, str, int, int]] = ()
    frames_per_second: int = 20
    size: tuple[int, int] = (WIDTH, HEIGHT)
    first_server_tick: int = 0
    stem: str | None = None
    lines: dict[int, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return self.stem or f"{self.alias}-f153ac423f61-{self.start:%Y%m%d-%H%M%S}"

    @property
    def video_frames(self) -> int:
        return self.num_frames if self.num_video_frames is None else self.num_video_frames

    def after(self, number: int, num_frames: int, hole_seconds: float = 1.0, **rest) -> "TinyRecording":
        """The recording that begins `hole_seconds` after the end of this one, cut to whole seconds."""
        start = self.start + timedelta(seconds=int(self.num_frames / 20 + hole_seconds))
        tick = self.first_server_tick + self.num_frames
        return TinyRecording(number, num_frames, self.alias, start, first_server_tick=tick, **rest)


def coded_frames(number: int, num_frames: int, size=(WIDTH, HEIGHT)) -> np.ndarray:
    """Planar yuv420p frames that show (recording number, frame number), u8 (num_frames, bytes of a frame)."""
    width, height = size
    codes = (number << 12) + np.arange(num_frames)
    bits = (codes[:, None] >> np.arange(15, -1, -1)) & 1
    luma = np.where(bits.reshape(-1, 4, 4), 200, 50).astype(np.uint8)
    luma = luma.repeat(height // 4, axis=1).repeat(width // 4, axis=2).reshape(num_frames, -1)
    chroma = np.full((num_frames, width * height // 2), 128, np.uint8)
    return np.concatenate([luma, chroma], axis=1)


def read_code(yuv: np.ndarray) -> tuple[int, int]:
    """The (recording number, frame number) that a decoded frame (height * 3 / 2, width) shows."""
    height, width = yuv.shape[0] * 2 // 3, yuv.shape[1]
    blocks = yuv[:height].reshape(4, height // 4, 4, width // 4).mean(axis=(1, 3))
    code = int("".join("1" if value > 125 else "0" for value in blocks.reshape(-1)), 2)
    return code >> 12, code & 0xFFF


def write_video(path: Path, frames: np.ndarray, size=(WIDTH, HEIGHT), frames_per_second=20, extra=()) -> None:
    """An H.264 mp4 with B-frames."""
    command = [ffmpeg_program(), "-v", "error", "-y", "-f", "rawvideo", "-pix_fmt", "yuv420p"]
    command += ["-video_size", f"{size[0]}x{size[1]}", "-framerate", str(frames_per_second), "-i", "pipe:"]
    command += ["-c:v", "libx264", "-preset", "veryfast", "-bf", "2", "-g", "40", "-threads", "1", *extra]
    # A path may look like an option or an address.
    subprocess.run([*command, "-f", "mp4", f"file:{path}"], input=frames.tobytes(), check=True, timeout=60)


def log_line(recording: TinyRecording, frame: int) -> dict:
    """The recorder's line of a frame."""
    still = frame in recording.noops
    gui = recording.gui[0] <= frame < recording.gui[1]
    tick = recording.first_server_tick + frame
    return {
        "mouse": {
            "x": 640.0 + frame,
            "y": 360.0,
            "dx": 0.0 if still else frame + 1.0,
            "dy": 0.0,
            "scaledX": float(frame),
            "scaledY": 0.0,
            "dwheel": 0.0,
            "buttons": [],
            "newButtons": [],
        },
        "keyboard": {"keys": [] if still else ["key.keyboard.w"], "newKeys": [], "chars": ""},
        "isGuiOpen": gui,
        "isGuiInventory": gui,
        "hotbar": 0,
        "yaw": 0.0,
        "pitch": 0.0,
        "xpos": 0.0,
        "ypos": 64.0,
        "zpos": 0.0,
        "tick": frame,
        "milli": 1649575088006 + 50 * tick,
        "inventory": [],
        "serverTick": tick,
        "serverTickDurationMs": 20.0,
        "stats": {"minecraft.custom:minecraft.play_one_minute": tick},
    }


def write_recording(folder: Path, recording: TinyRecording) -> Path:
    """`<name>.mp4`, `<name>.jsonl` and, with interactions, `<name>.rle` lie in the folder; returns the video."""
    folder.mkdir(parents=True, exist_ok=True)
    video = folder / f"{recording.name}.mp4"
    frames = coded_frames(recording.number, recording.video_frames, recording.size)
    write_video(video, frames, recording.size, recording.frames_per_second)
    lines = [recording.lines.get(i, json.dumps(log_line(recording, i))) for i in range(recording.num_frames)]
    (folder / f"{recording.name}.jsonl").write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    if recording.interactions:
        (folder / f"{recording.name}.rle").write_bytes(pickle.dumps(masks_of(recording)))
    return video


def masks_of(recording: TinyRecording) -> dict:
    """A `.rle` file's content: each interaction's mask is a bar of 30 x 3 px that sinks with the frames."""
    frames: dict[int, list] = {}
    entries = {}
    for index, (kind, event, first, stop) in enumerate(recording.interactions):
        for frame in range(first, stop):
            key = (index, event, frame)
            frames.setdefault(frame, []).append(key)
            pixel = 1 + 640 * (10 + frame % 300) + 40 * index
            entries[key] = {
                "obj_id": kind,
                "rle_mask": f"{pixel} 30 {pixel + 640} 30 {pixel + 1280} 30",
                "event": event,
                "point": (10.0 + frame % 300, 40.0 * index + 15),
                "frame_range": (first, stop - 1),
            }
    return {"video_annos": frames, "rle_mask_mapping": entries}


def write_session(folder: Path) -> list[TinyRecording]:
    """Two sessions: three recordings that go on over midnight, and one alone. 171 frames, 8 of them no-ops."""
    first = TinyRecording(1, 45, noops=range(10, 15), gui=(20, 25), interactions=[(2, "mine_block:stone", 3, 30)])
    second = first.after(2, 40, num_video_frames=41, interactions=[(0, "kill", 0, 20), (1, "use", 5, 35)])
    third = second.after(3, 33, noops=[0, 1, 32])
    other = TinyRecording(4, 53, alias="other-red-owl")
    recordings = [first, second, third, other]
    for recording in recordings:
        write_recording(folder, recording)
    return recordings


def stored_frames(dataset_folder: Path) -> dict[str, list[tuple[int, int, int, float]]]:
    """Episode id -> for each stored frame (code's recording, code's frame, source_frame, yaw in mouse pixels)."""
    dataset = open_dataset(str(dataset_folder))
    episodes = {}
    for episode, name in enumerate(dataset.episodes.ids):
        rows = []
        for clip in dataset.clip_rows(episode):
            content = dataset.read_clip(episode, clip)
            yuv = decode_yuv(content.video, 0, content.arrays.num_frames)
            facts = zip(yuv, content.arrays.source_frame, content.arrays.camera, strict=True)
            rows += [
                (*read_code(frame), int(source), round(camera[1] / DEGREES_PER_PIXEL, 6))
                for frame, source, camera in facts
            ]
        episodes[name] = rows
    return episodes


def file_bytes(folder: Path) -> dict[str, bytes]:
    """Relative path -> content of every file, in order."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def measure(recording: Recording) -> Extent:
    """By the recording's source."""
    return source_of(recording).measure(recording)


def load_log(recording: Recording, state: CarryState = EPISODE_START, **settings) -> RecordingContent:
    """By the recording's source, with these settings of a build."""
    return source_of(recording).load_log(recording, state, BuildSettings(**settings))


def load_masks(recording: Recording) -> RecordingMasks | None:
    """By the recording's source."""
    return source_of(recording).load_masks(recording)
