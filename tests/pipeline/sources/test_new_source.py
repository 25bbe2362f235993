"""A kind of source that the program does not know: one class and one entry make it build."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from av.video.frame import VideoFrame

from pipeline.build.job import build_shards
from pipeline.recording import EPISODE_START, Extent, Findings, Recording, RecordingContent, SourceName
from pipeline.sources import SOURCES
from pipeline.sources.recorder import COLUMN
from pipeline.sources.source import DEFAULTS, Source
from pipeline.sources.tree import Search
from shards.manifest import REJECTED_FILE
from shards.reader import open_dataset
from shards.video import decode_yuv
from tests.pipeline.inline_engine import InlineEngine
from tests.pipeline.recordings import HEIGHT, TINY, WIDTH, coded_frames, read_code


class FrameFolders(Source):
    """`<name>/0.npy` ... with a picture each, and `<name>/actions.json`, a list of lists of buttons."""

    name = "npy"
    stored_as = "frames"

    def find(self, search: Search) -> Findings:
        logs = [file.path for file in search.ending("actions.json")]
        return Findings(tuple(Recording(log.parent.name, self.name, log.parent, log) for log in logs), ())

    def measure(self, recording: Recording) -> Extent:
        return Extent(len(json.loads(recording.actions.read_text())))

    def load_log(self, recording, state=EPISODE_START, settings=DEFAULTS) -> RecordingContent:
        pressed = json.loads(recording.actions.read_text())
        buttons = np.zeros((len(pressed), len(COLUMN)), np.uint8)
        for frame, names in enumerate(pressed):
            buttons[frame, [COLUMN[name] for name in names]] = 1
        return RecordingContent(
            buttons=buttons,
            camera=np.zeros((len(pressed), 2)),
            gui=np.zeros(len(pressed), bool),
            cursor_window_px=None,
            keep=buttons.any(axis=1),
            num_lines=len(pressed),
        )

    def log_lines(self, recording: Recording) -> Iterator[bytes]:
        for names in json.loads(recording.actions.read_text()):
            yield json.dumps({"buttons": names}).encode() + b"\n"

    def frames(self, recording: Recording) -> Iterator[VideoFrame]:
        for number in range(len(list(recording.video.glob("*.npy")))):
            yield VideoFrame.from_ndarray(np.load(recording.video / f"{number}.npy"), format="yuv420p")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two recordings: 20 frames, of which frame 7 does nothing; and one that lacks its last two pictures."""
    for number, num_pictures in ((1, 20), (2, 18)):
        place = tmp_path / "in" / f"play{number}"
        place.mkdir(parents=True)
        for frame, picture in enumerate(coded_frames(number, num_pictures)):
            np.save(place / f"{frame}.npy", picture.reshape(HEIGHT * 3 // 2, WIDTH))
        pressed = [
            [] if number == 1 and frame == 7 else ["forward", f"hotbar.{frame % 9 + 1}"] for frame in range(20)
        ]
        (place / "actions.json").write_text(json.dumps(pressed))
    return tmp_path / "in"


def test_new_kind_of_source_is_a_class_and_an_entry(folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(SOURCES, "npy", FrameFolders())
    build_shards([folder], tmp_path / "out", TINY, InlineEngine())
    dataset = open_dataset(str(tmp_path / "out"))
    stored = {}
    for episode, name in enumerate(dataset.episodes.ids):
        for row in dataset.clip_rows(episode):
            clip = dataset.read_clip(episode, row)
            codes = [read_code(frame) for frame in decode_yuv(clip.video, 0, clip.arrays.num_frames)]
            slots = clip.arrays.buttons[:, COLUMN["hotbar.1"] : COLUMN["hotbar.1"] + 9].argmax(axis=1)
            stored.setdefault(name, []).extend((*code, int(slot)) for code, slot in zip(codes, slots, strict=True))
    assert stored == {
        "play1": [(1, frame, frame % 9) for frame in range(20) if frame != 7],
        "play2": [(2, frame, frame % 9) for frame in range(18)],
    }
    assert [json.loads(line.data)["buttons"] for line in dataset.read_log(0)][7] == []
    assert [recording.source for recording in dataset.episode_row(0).recordings] == ["npy"]
    [left_out] = [json.loads(line) for line in (tmp_path / "out" / REJECTED_FILE).read_text().splitlines()]
    assert (left_out["recording"], left_out["first_frame"], left_out["num_frames"]) == ("play2", 18, 2)


def test_command_line_names_every_kind_of_source() -> None:
    assert get_args(SourceName) == tuple(SOURCES)


def test_new_kind_of_source_can_be_asked_for_alone(folder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(SOURCES, "npy", FrameFolders())
    report = build_shards([folder], tmp_path / "out", TINY, InlineEngine(), source="npy")
    assert report.info.counts["num_recordings"] == 2
