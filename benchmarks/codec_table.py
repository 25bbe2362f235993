"""The table that the codec's settings were chosen from: size, quality, speed of encoding, speed of decoding.

Frames of the source are scaled once (area) to planar YUV; every setting encodes those frames as clips of 128 and
PyAV decodes them with one thread. Quality is that of every luma plane against the scaled one, and of every fifth
frame in RGB, so that all kinds of frames have their turn.
"""

from __future__ import annotations

import io
import subprocess
import time
from dataclasses import dataclass, replace
from pathlib import Path

import av
import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from benchmarks.measure import Spread, run_program
from benchmarks.quality import psnr, ssim
from benchmarks.recordings import Source
from benchmarks.report import Table
from pipeline.settings import TRAINING_PARAMS
from pipeline.transcode.ffmpeg import ffmpeg_program
from shards.video import decode_yuv

SIZE_PX, CLIP_FRAMES, KEYFRAMES = 224, 128, 32
RGB_EVERY = 5
Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Setting:
    """An encoder with its options; `keyframes` is the distance from one key frame to the next."""

    name: str
    options: tuple[str, ...]
    keyframes: int = KEYFRAMES


def _x264(preset: str, crf: float, *options: str, name: str = "") -> Setting:
    words = ("-c:v", "libx264", "-preset", preset, "-crf", f"{crf:g}", *options)
    return Setting(f"x264 {preset} crf {crf:g}{name}", words)


FAST = ("-tune", "fastdecode")


def _training(crf: float, without: str = "") -> Setting:
    """Preset `training`, or what it would be with one of its parameters as superfast has it."""
    words = ":".join(word for word in TRAINING_PARAMS.split(":") if word.partition("=")[0] != without)
    setting = _x264("superfast", crf, "-x264-params", words)
    return replace(setting, name=f"training crf {crf:g}" + (f", {without} as superfast's" if without else ""))


SETTINGS = (
    _training(14.9),
    _training(15.9),
    _training(14.9, "cabac"),
    _training(14.9, "deblock"),
    _training(14.9, "chroma-qp-offset"),
    _training(14.9, "deadzone-inter"),
    _training(14.9, "mbtree"),
    _training(16.9, "qcomp"),
    _training(14.9, "subme"),
    _training(14.9, "me"),
    _training(14.9, "partitions"),
    _x264("ultrafast", 18),
    _x264("superfast", 18),
    _x264("superfast", 18, *FAST, name=", fastdecode"),
    _x264("superfast", 16, *FAST, name=", fastdecode"),
    _x264("veryfast", 15),
    _x264("veryfast", 18),
    _x264("veryfast", 15, "-bf", "0", name=", no B-frames"),
    _x264("veryfast", 14, *FAST, name=", fastdecode"),
    _x264("veryfast", 15, *FAST, name=", fastdecode"),
    _x264("veryfast", 16, *FAST, name=", fastdecode"),
    _x264("faster", 15, *FAST, name=", fastdecode"),
    _x264("medium", 18),
    _x264("medium", 15, *FAST, name=", fastdecode"),
    Setting(
        "x264 veryfast crf 21, all intra", ("-c:v", "libx264", "-preset", "veryfast", "-crf", "21"), keyframes=1
    ),
    Setting(
        "SVT-AV1 preset 8 crf 24", ("-c:v", "libsvtav1", "-preset", "8", "-crf", "24", "-svtav1-params", "lp=1")
    ),
    Setting(
        "x265 fast crf 18",
        (
            "-c:v",
            "libx265",
            "-preset",
            "fast",
            "-crf",
            "18",
            "-x265-params",
            "pools=none:frame-threads=1:open-gop=0:log-level=0",
        ),
    ),
)


def scaled_frames(source: Source, num_frames: int) -> Frames:
    """The first frames of each recording in equal shares, I420, shape (N, SIZE_PX * 3 // 2, SIZE_PX)."""
    videos = sorted(source.contractor.glob("*.mp4"))
    share, parts = -(-num_frames // len(videos)), []
    for video in videos:
        words = ["-i", str(video), "-frames:v", str(share), "-vf", f"scale={SIZE_PX}:{SIZE_PX}:flags=area"]
        raw = _ffmpeg(*words, "-pix_fmt", "yuv420p", "-f", "rawvideo", "-")
        parts.append(np.frombuffer(raw, np.uint8).reshape(-1, SIZE_PX * 3 // 2, SIZE_PX))
    return np.concatenate(parts)[:num_frames]


def encode(frames: Path, setting: Setting, out: Path) -> float:
    """The clips of a setting lie in `out`; core-seconds that it took."""
    out.mkdir(exist_ok=True)
    for old in out.iterdir():
        old.unlink()
    form = ["-f", "rawvideo", "-pix_fmt", "yuv420p", "-s", f"{SIZE_PX}x{SIZE_PX}", "-r", "20", "-i", str(frames)]
    interval = ["-g", str(setting.keyframes), "-keyint_min", str(setting.keyframes), "-sc_threshold", "0"]
    if "libx265" in setting.options:
        interval = ["-g", str(setting.keyframes)]
    clips = ["-f", "segment", "-segment_format", "mp4", "-segment_time", str(CLIP_FRAMES / 20), f"{out}/%06d.mp4"]
    times = ["-reset_timestamps", "1", "-avoid_negative_ts", "disabled"]  # every clip's first frame is at 0
    command = [ffmpeg_program(), "-nostdin", "-loglevel", "error", *form]
    return run_program([*command, *setting.options, *interval, "-threads", "1", *times, *clips]).core_seconds


def decode_all(clips: list[bytes], counts: list[int]) -> tuple[Frames, float]:
    """All frames of the clips, and the core-seconds of decoding them into one buffer."""
    out = np.empty((sum(counts), SIZE_PX * 3 // 2, SIZE_PX), np.uint8)
    out[:] = 0  # the pages are there before the clock starts
    start, at = time.process_time(), 0
    for clip, count in zip(clips, counts, strict=True):
        decode_yuv(clip, 0, count, out[at : at + count])
        at += count
    return out, time.process_time() - start


def measure(source: Source, num_frames: int, work: Path, repeats: int) -> Table:
    """The table for one source."""
    frames = scaled_frames(source, num_frames)
    raw = work / "scaled.yuv"
    raw.write_bytes(frames.tobytes())
    table = Table(
        f"{source.name}: {len(frames)} frames of {SIZE_PX}x{SIZE_PX}",
        [
            "setting",
            "bytes a frame",
            "luma PSNR, dB",
            "RGB SSIM",
            "encoded a core-second",
            "decoded a core-second",
        ],
    )
    for setting in SETTINGS:
        print(f"  {setting.name}", flush=True)
        encoding = [len(frames) / encode(raw, setting, work / "codec") for _ in range(repeats)]
        clips = [path.read_bytes() for path in sorted((work / "codec").iterdir())]
        counts = [_num_frames(clip) for clip in clips]
        assert sum(counts) == len(frames), f"{setting.name}: {sum(counts)} frames, expected {len(frames)}"
        decoding = []
        for _ in range(repeats):
            decoded, core_seconds = decode_all(clips, counts)
            decoding.append(len(frames) / core_seconds)
        luma = zip(decoded[:, :SIZE_PX], frames[:, :SIZE_PX], strict=True)
        colour = zip(decoded[::RGB_EVERY], frames[::RGB_EVERY], strict=True)
        table.add(
            setting.name,
            f"{sum(map(len, clips)) / len(frames):,.0f}",
            f"{np.mean([psnr(made, wanted) for made, wanted in luma]):.1f}",
            f"{np.mean([ssim(_rgb(made), _rgb(wanted)) for made, wanted in colour]):.4f}",
            Spread.of(encoding).text(),
            Spread.of(decoding).text(),
        )
    raw.unlink()
    return table


def _rgb(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return VideoFrame.from_ndarray(frame, format="yuv420p").to_ndarray(format="rgb24")


def _num_frames(clip: bytes) -> int:
    with av.open(io.BytesIO(clip)) as container:
        return sum(1 for packet in container.demux(video=0) if packet.size)


def _ffmpeg(*words: str) -> bytes:
    command = [ffmpeg_program(), "-nostdin", "-loglevel", "error", *words]
    return subprocess.run(command, capture_output=True, check=True).stdout
