"""Plays the sessions of a sample and writes them as contractor recordings."""

import contextlib
import json
import shlex
import shutil
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path

import numpy as np

from pipeline.progress import ProgressReport
from pipeline.sample.barcode import MAX_RECORDING
from pipeline.sample.inputs import InputLog, dialect_of
from pipeline.sample.recorder import RecordingWriter
from pipeline.sample.sessions import SessionPlan, duration, plan_sessions
from pipeline.sample.story import RECALL_EVENT, Story, StorySettings
from pipeline.transcode.ffmpeg import ffmpeg_program
from shards.errors import RocketError

MAX_SESSIONS = (MAX_RECORDING + 1) // 3
"""A frame's mark holds the number of its recording, and a session has up to three."""


@dataclass(frozen=True)
class SampleSettings:
    """How much to record; the same settings give the same recordings.

    Attributes:
        num_sessions: play sessions, each of one to three recordings.
        max_recording_frames: longest length that is asked for; a recording may run on to the end of a goal.
    """

    seed: int = 0
    num_sessions: int = 10
    min_recording_frames: int = 320
    max_recording_frames: int = 680
    story: StorySettings = field(default_factory=StorySettings)


@dataclass(frozen=True)
class SampleRecording:
    """What sample.json says about a recording; ranges are half-open and in its own frames."""

    number: int
    name: str
    version: str
    session: int
    start: str
    num_frames: int
    num_video_frames: int
    num_noops: int
    signal_frames: list[list[int]]
    recall_frames: list[list[int]]


@dataclass(frozen=True)
class SampleSummary:
    """What was written."""

    out: Path
    recordings: list[SampleRecording]

    @property
    def num_sessions(self) -> int:
        return len({recording.session for recording in self.recordings})

    @property
    def num_frames(self) -> int:
        return sum(recording.num_frames for recording in self.recordings)

    @property
    def num_noops(self) -> int:
        return sum(recording.num_noops for recording in self.recordings)


def make_sample(out: Path, settings: SampleSettings, progress: ProgressReport | None = None) -> SampleSummary:
    """Leave sample recordings in a folder that did not exist or was empty; nothing is left of a try that fails.

    The folder gets `data/<version>/<recording>.mp4` and `.jsonl`, `segmentation/<recording>.rle`,
    `index/all_<n>xx_sample.json` as OpenAI's lists, and `sample.json`: each recording's true session and which of
    its frames show the signal or need it.

    Raises:
        RocketError: the folder is not empty, the settings make no sense, or there is no ffmpeg program.
    """
    _check(out, settings)
    ffmpeg_program()
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.parent / f".{out.name}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        recordings = _record_all(unfinished, settings, progress or ProgressReport())
        _write_lists(unfinished, settings, recordings)
        unfinished.rename(out)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    return SampleSummary(out, recordings)


def _check(out: Path, settings: SampleSettings) -> None:
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        remedy = f"Name another, or run: rm -r {shlex.quote(str(out))}"
        raise RocketError(f"{out}: not empty, expected a new or empty folder. {remedy}")
    if not 1 <= settings.num_sessions <= MAX_SESSIONS:
        raise RocketError(f"make-sample: num_sessions = {settings.num_sessions}, expected 1 to {MAX_SESSIONS}.")
    if not 1 <= settings.min_recording_frames <= settings.max_recording_frames <= 5500:
        raise RocketError(
            f"make-sample: recordings of {settings.min_recording_frames} to {settings.max_recording_frames} "
            "frames, expected 1 <= shortest <= longest <= 5500 (published ones have at most 6000)."
        )


def _record_all(root: Path, settings: SampleSettings, progress: ProgressReport) -> list[SampleRecording]:
    seeds = np.random.SeedSequence(settings.seed).spawn(1 + settings.num_sessions)
    plans = plan_sessions(
        settings.num_sessions,
        settings.min_recording_frames,
        settings.max_recording_frames,
        np.random.default_rng(seeds[0]),
    )
    progress.start("recording", sum(sum(plan.lengths) for plan in plans), "frames")
    recordings: list[SampleRecording] = []
    for plan, seed in zip(plans, seeds[1:], strict=True):
        recordings += _record_session(root, plan, seed, settings.story, len(recordings), progress)
    return recordings


def _record_session(
    root: Path,
    plan: SessionPlan,
    seed: np.random.SeedSequence,
    settings: StorySettings,
    first_number: int,
    progress: ProgressReport,
) -> list[SampleRecording]:
    """Play a session and leave all files of its recordings."""
    videos, masks = root / "data" / plan.version, root / "segmentation"
    videos.mkdir(parents=True, exist_ok=True)
    masks.mkdir(parents=True, exist_ok=True)
    story = Story.begin(seed, plan.theme, plan.lengths, settings)
    dialect, player = dialect_of(plan.version), story.player
    player.can_wheel = dialect.has_hotbar
    recordings: list[SampleRecording] = []
    start, server_tick = plan.start, plan.first_server_tick
    ticks = story.ticks()
    tick, last_action = next(ticks), None
    while not tick.is_last:
        index, name = len(recordings), plan.stem(start)
        log = InputLog(dialect, int(start.timestamp() * 1000) + 6, server_tick, plan.stuck_attack == index)
        if last_action is not None:
            log.hold(last_action)
        number = first_number + index
        with contextlib.closing(
            RecordingWriter(videos / name, masks / f"{name}.rle", number, log, player)
        ) as writer:
            starts_next = False
            while not (starts_next or tick.is_last):
                writer.add(tick)
                progress.advance(1)
                last_action, tick = tick.action, next(ticks)
                starts_next = tick.starts_recording
            if plan.extra_frame[index]:
                writer.add_frame_without_action()
            writer.finish()
        recordings.append(
            SampleRecording(
                number=number,
                name=name,
                version=plan.version,
                session=plan.index,
                start=start.isoformat(),
                num_frames=log.num_lines,
                num_video_frames=writer.video.num_frames,
                num_noops=writer.num_noops,
                signal_frames=writer.roles["signal"],
                recall_frames=writer.roles["recall"],
            )
        )
        start += duration(log.num_lines) + timedelta(seconds=1)  # which the recorder needs to go on
        server_tick += log.num_lines
    return recordings


def _write_lists(root: Path, settings: SampleSettings, recordings: list[SampleRecording]) -> None:
    (root / "index").mkdir()
    releases: dict[str, list[str]] = {}
    for recording in recordings:
        release = recording.version.split(".")[0]
        releases.setdefault(release, []).append(f"data/{recording.version}/{recording.name}.mp4")
    for release, paths in releases.items():
        text = json.dumps({"basedir": "../", "relpaths": sorted(paths)}, indent=2)
        (root / "index" / f"all_{release}xx_sample.json").write_text(text + "\n", encoding="utf-8")
    sample = {
        "settings": asdict(settings),
        "recall_event": RECALL_EVENT,
        "recordings": [asdict(recording) for recording in recordings],
    }
    (root / "sample.json").write_text(json.dumps(sample, indent=1) + "\n", encoding="utf-8")
