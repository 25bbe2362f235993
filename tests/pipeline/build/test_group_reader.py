"""How many frames of a recording can be used, and what is said of the others."""

from pathlib import Path

import numpy as np
import pytest

from pipeline.build.group_reader import usable_frames
from pipeline.episodes.groups import PlannedRecording
from pipeline.recording import Breakage, Extent, FrameCounts, Recording, RecordingContent, VideoHeader
from pipeline.settings import BuildSettings

RECORDING = Recording("a", "contractor", Path("a.mp4"), Path("a.jsonl"))


def planned(num_in_header: int) -> PlannedRecording:
    header = VideoHeader((640, 360), FrameCounts(num_in_header, num_in_header), 20.0, 20.0)
    return PlannedRecording(RECORDING, Extent(), header, "")


def content(num_good: int, num_lines: int, breakage: Breakage | None = None) -> RecordingContent:
    flags = np.zeros(num_good, bool)
    buttons, camera = np.zeros((num_good, 23), np.uint8), np.zeros((num_good, 2))
    return RecordingContent(buttons, camera, flags, None, flags, num_lines, breakage=breakage)


@pytest.mark.parametrize(
    ("num_in_header", "num_lines", "num_usable", "left_out"),
    [
        (6000, 6000, 6000, []),
        (6001, 6000, 6000, []),  # the frame after the last action is no loss
        (6002, 6000, 6000, [("a.mp4", 6000, 2)]),
        (5990, 6000, 5990, [("a.mp4", 5990, 10)]),
        (1, 1, 1, []),
        (1, 0, 0, []),
        (0, 7, 7, []),  # the header does not say
    ],
)
def test_frames_pair_with_lines_as_far_as_both_reach(num_in_header, num_lines, num_usable, left_out) -> None:
    got = usable_frames(planned(num_in_header), content(num_lines, num_lines), None, BuildSettings())
    assert got[0] == num_usable
    assert [(r.path, r.first_frame, r.num_frames) for r in got[1]] == left_out
    assert {r.reason for r in got[1]} <= {"lengths_differ"}


def test_what_ends_first_decides_and_each_frame_is_left_out_once() -> None:
    broken = content(80, 100, Breakage(80, "broken_line", "line 81"))
    num_frames, left_out = usable_frames(
        planned(100), broken, Breakage(30, "bad_frame", "damaged"), BuildSettings()
    )
    assert num_frames == 30
    assert [(r.reason, r.path, r.first_frame, r.num_frames) for r in left_out] == [
        ("broken_line", "a.jsonl", 80, 20),
        ("bad_frame", "a.mp4", 30, 50),
    ]


def test_compat_minestudio_leaves_out_a_recording_with_anything_wrong_whole() -> None:
    settings = BuildSettings(compat="minestudio")
    broken = content(80, 100, Breakage(80, "broken_line", "line 81"))
    num_frames, [left_out] = usable_frames(planned(100), broken, None, settings)
    assert (num_frames, left_out.reason, left_out.first_frame, left_out.num_frames) == (0, "broken_line", 0, 100)
