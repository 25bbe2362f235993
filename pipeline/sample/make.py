"""Plays the sessions of a sample and writes them as contractor recordings."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path

import numpy as np

from pipeline.sample.action import act
from pipeline.sample.barcode import MAX_RECORDING
from pipeline.sample.inputs import InputLog, dialect_of
from pipeline.sample.recorder import RecordingWriter
from pipeline.sample.render import Renderer
from pipeline.sample.sessions import SessionPlan, duration, plan_sessions
from pipeline.sample.story import RECALL_EVENT, Story, StorySettings
from pipeline.transcode.ffmpeg import ffmpeg_program
from shards.errors import RocketError

MAX_SESSIONS = (MAX_RECORDING + 1) // 3
"""A frame's mark holds the number of its recording, and a session has up to three."""

Progress = Callable[[int, int], None]
"""Called now and then with (frames written, frames expected in all)."""


@dataclass(frozen=True)
class SampleSettings:
    """How much to record and what it is like.

    Attributes:
        seed: the same seed gives the same recordings.
        num_sessions: play sessions, each of one to three recordings.
        min_recording_frames: shortest length that is asked for, frames (20 a second).
        max_recording_frames: longest length that is asked for; a recording may run on to the end of a goal.
        story: what a session's rounds are like.
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
        """Play sessions, which a build should find again as episodes."""
        return len({recording.session for recording in self.recordings})

    @property
    def num_frames(self) -> int:
        """Frames with an action."""
        return sum(recording.num_frames for recording in self.recordings)

    @property
    def num_noops(self) -> int:
        """Frames in which nothing is pressed and nothing moves."""
        return sum(recording.num_noops for recording in self.recordings)

    @property
    def num_recall_frames(self) -> int:
        """Frames whose button only memory tells."""
        return sum(stop - start for recording in self.recordings for start, stop in recording.recall_frames)


def make_sample(out: Path, settings: SampleSettings, progress: Progress | None = None) -> SampleSummary:
    """Leave sample recordings in a folder that did not exist or was empty; nothing is left of a try that fails.

    The folder gets `data/<version>/<recording>.mp4` and `.jsonl`, `segmentation/<recording>.rle`,
    `index/all_<n>xx_sample.json` as OpenAI's lists, and `sample.json`: each recording's true session and which of
    its frames show the signal or need it.

    Raises:
        RocketError: the folder is not empty or the settings make no sense.
        RocketError: there is no ffmpeg program.
    """
    _check(out, settings)
    ffmpeg_program()
    out.parent.mkdir(parents=True, exist_ok=True)
    unfinished = out.parent / f".{out.name}.unfinished"
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        recordings = _record_all(unfinished, settings, progress or (lambda *_: None))
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


def _record_all(root: Path, settings: SampleSettings, progress: Progress) -> list[SampleRecording]:
    seeds = np.random.SeedSequence(settings.seed).spawn(1 + settings.num_sessions)
    plans = plan_sessions(
        settings.num_sessions,
        settings.min_recording_frames,
        settings.max_recording_frames,
        np.random.default_rng(seeds[0]),
    )
    expected = sum(sum(plan.lengths) for plan in plans)
    recordings: list[SampleRecording] = []
    for plan, seed in zip(plans, seeds[1:], strict=True):
        _Session(root, plan, seed, settings.story, recordings, lambda done: progress(done, expected)).record()
    return recordings


class _Session:
    """Plays one session and writes its recordings."""

    def __init__(
        self,
        root: Path,
        plan: SessionPlan,
        seed: np.random.SeedSequence,
        story: StorySettings,
        recordings: list[SampleRecording],
        progress: Callable[[int], None],
    ) -> None:
        self._root, self._plan, self._recordings, self._progress = root, plan, recordings, progress
        self._story = Story.begin(seed, plan.theme, plan.lengths, story)
        self._player = self._story.player
        self._player.can_wheel = dialect_of(plan.version).has_hotbar
        self._renderer = Renderer()
        self._start = plan.start
        self._server_tick = plan.first_server_tick
        self._number_in_session = -1
        self._last_action = act()

    def record(self) -> None:
        """Leave all files of the session's recordings."""
        writer: RecordingWriter | None = None
        try:
            for tick in self._story.ticks():
                if writer is not None and (tick.starts_recording or tick.is_last):
                    self._finish(writer)
                if tick.is_last:
                    return
                if tick.starts_recording:
                    last = writer
                    writer = self._begin()
                    if last is not None:
                        writer.log.hold(self._last_action)
                assert writer is not None
                writer.add(self._renderer, self._player, tick)
                self._last_action = tick.action
                if writer.num_frames % 50 == 0:
                    self._progress(sum(recording.num_frames for recording in self._recordings) + writer.num_frames)
        except BaseException:
            if writer is not None:
                writer.kill()
            raise

    def _begin(self) -> RecordingWriter:
        plan = self._plan
        self._number_in_session += 1
        videos, masks = self._root / "data" / plan.version, self._root / "segmentation"
        videos.mkdir(parents=True, exist_ok=True)
        masks.mkdir(parents=True, exist_ok=True)
        name = plan.stem(self._start)
        log = InputLog(
            dialect_of(plan.version),
            start_milli=int(self._start.timestamp() * 1000) + 6,
            first_server_tick=self._server_tick,
            stuck_attack=plan.stuck_attack == self._number_in_session,
        )
        return RecordingWriter(videos / name, masks / f"{name}.rle", len(self._recordings), log)

    def _finish(self, writer: RecordingWriter) -> None:
        plan = self._plan
        if plan.extra_frame[self._number_in_session]:
            writer.add_frame_without_action(self._renderer, self._player)
        writer.close()
        self._recordings.append(
            SampleRecording(
                number=writer.number,
                name=plan.stem(self._start),
                version=plan.version,
                session=plan.index,
                start=self._start.isoformat(),
                num_frames=writer.num_frames,
                num_video_frames=writer.num_video_frames,
                num_noops=writer.num_noops,
                signal_frames=writer.roles["signal"],
                recall_frames=writer.roles["recall"],
            )
        )
        self._progress(sum(recording.num_frames for recording in self._recordings))
        self._start += duration(writer.num_frames) + timedelta(seconds=1)  # which the recorder needs to go on
        self._server_tick += writer.num_frames


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
