"""The recordings that all programs prepare: sample play, and the real clip where there is one."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from benchmarks.measure import ROOT
from pipeline.sample.make import SampleSettings, make_sample

REAL_CLIP = ROOT.parent / "shared" / "data" / "video" / "human_survival_640x360_20fps.mp4"
REAL_LOGS = ROOT.parent / "shared" / "data" / "contractor_jsonl"
_REAL_CLIP_FRAMES = 889
_REAL_COPIES = 2
NUM_COPIES = 8
_FRAMES_PER_RECORDING = 1500


@dataclass(frozen=True)
class Source:
    """Recordings in two layouts, hard links of the same files.

    Attributes:
        contractor: `<recording>.mp4`, `.jsonl` and, with masks, `.rle`: what OpenAI and ROCKET-1 published.
        minestudio: `mp4/`, `jsonl/` and `segmentation/`: what MineStudio's scripts want.
        many: as `contractor`, each recording NUM_COPIES times under other names: enough work for programs that
            need a tenth of MineStudio's time, so that their start does not weigh more than it does in reality.
    """

    name: str
    contractor: Path
    minestudio: Path
    many: Path
    num_recordings: int
    num_frames: int
    has_masks: bool


def sample_source(work: Path, num_frames: int) -> Source:
    """Sample recordings with about so many frames (made once, kept in `work`).

    What MineStudio's script refuses is avoided, so that all programs do the same work: recordings of the oldest
    recorders, whose logs lack the hot-bar's slot, and cursors left of the frame or above it.
    """
    played, folder = work / f"played-{num_frames}", work / f"sample-{num_frames}"
    if not folder.exists():
        shutil.rmtree(played, ignore_errors=True)
        length = min(_FRAMES_PER_RECORDING, max(num_frames // 4, 40))
        num_sessions = max(3, num_frames * 2 // 3 // length)
        settings = SampleSettings(
            seed=11, num_sessions=num_sessions, min_recording_frames=length * 3 // 4, max_recording_frames=length
        )
        made = make_sample(played, settings)
        total = 0
        for recording in made.recordings:
            if int(recording.version.split(".")[0]) < 7 or recording.num_frames < 64 or total >= num_frames:
                continue
            video = played / "data" / recording.version / f"{recording.name}.mp4"
            masks = played / "segmentation" / f"{recording.name}.rle"
            log = video.with_suffix(".jsonl")
            _keep_cursor_inside(log)
            _place(folder, recording.name, video, log, masks)
            total += recording.num_frames
    return _describe("sample", folder, has_masks=True)


def real_source(work: Path) -> Source | None:
    """The real clip with the beginning of a real log, several times over; None where it is not there."""
    logs = sorted(REAL_LOGS.glob("*.jsonl"))
    if not REAL_CLIP.exists() or not logs:
        return None
    folder = work / "real"
    if not folder.exists():
        for number in range(_REAL_COPIES):
            lines = logs[number % len(logs)].read_text().splitlines()[:_REAL_CLIP_FRAMES]
            log = work / "real-log.jsonl"
            log.write_text("\n".join(lines) + "\n")
            start = datetime(2022, 1, 1, 12, tzinfo=UTC) + timedelta(days=number)
            _place(folder, f"real-human-player-0123456789ab-{start:%Y%m%d-%H%M%S}", REAL_CLIP, log, None)
            log.unlink()
    return _describe("real", folder, has_masks=False)


def _keep_cursor_inside(log: Path) -> None:
    records = [json.loads(line) for line in log.read_text().splitlines()]
    for record in records:
        for axis in ("x", "y"):
            record["mouse"][axis] = max(record["mouse"][axis], 0.0)
    log.write_text("".join(json.dumps(record, separators=(",", ":")) + "\n" for record in records))


def _place(folder: Path, name: str, video: Path, log: Path, masks: Path | None) -> None:
    places = [(video, "mp4", "mp4"), (log, "jsonl", "jsonl")]
    if masks is not None:
        places.append((masks, "rle", "segmentation"))
    for path, extension, subfolder in places:
        for target in (
            folder / "contractor" / f"{name}.{extension}",
            folder / "minestudio" / subfolder / f"{name}.{extension}",
        ):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(path, target)
            except OSError:  # on another disk
                shutil.copyfile(path, target)


def _describe(name: str, folder: Path, *, has_masks: bool) -> Source:
    logs = sorted((folder / "contractor").glob("*.jsonl"))
    num_frames = sum(len(log.read_text().splitlines()) for log in logs)
    assert all(json.loads(log.read_text().splitlines()[0]) for log in logs)
    contractor, minestudio, many = (folder / layout for layout in ("contractor", "minestudio", "many"))
    if not many.exists():
        link_copies(contractor, many)
    return Source(name, contractor, minestudio, many, len(logs), num_frames, has_masks)


def link_copies(folder: Path, target: Path) -> None:
    """Each file lies in `target` NUM_COPIES times, as if other players had made it."""
    target.mkdir(parents=True)
    for number in range(NUM_COPIES):
        for path in folder.iterdir():
            os.link(path, target / f"copy{number}-{path.name}")
