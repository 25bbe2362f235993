"""The records between sources and build."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from pipeline.episodes.minestudio_rules import kept_frames, video_objection

from pipeline.recording import Breakage, CarryState, RecordingContent, SourceError, pair_frames


@pytest.mark.parametrize(
    ("num_video_frames", "num_lines", "expected"),
    [
        (6000, 6000, (6000, 0, 0)),
        (6001, 6000, (6000, 0, 0)),  # the frame after the last action is no loss
        (6002, 6000, (6000, 2, 0)),
        (5990, 6000, (5990, 0, 10)),
        (1, 1, (1, 0, 0)),
        (1, 0, (0, 0, 0)),
        (0, 7, (0, 0, 7)),
        (0, 0, (0, 0, 0)),
    ],
)
def test_frames_pair_with_lines_as_far_as_both_reach(
    num_video_frames: int, num_lines: int, expected: tuple[int, int, int]
) -> None:
    pairing = pair_frames(num_video_frames, num_lines)
    assert (pairing.num_frames, pairing.num_unpaired_frames, pairing.num_unpaired_lines) == expected


@pytest.mark.parametrize(
    ("facts", "objection"),
    [
        ((6000, 6000, 20.0, 640, 360), None),
        ((6001, 6000, 20.9, 640, 360), None),
        ((6002, 6000, 20.0, 640, 360), "6002 frames in the video's header, expected 6000 or 6001"),
        ((5999, 6000, 20.0, 640, 360), "5999 frames in the video's header, expected 6000 or 6001"),
        ((6000, 6000, 19.99, 640, 360), "19.99 frames per second, cut to 19, expected 20"),
        ((6000, 6000, 20.0, 1280, 720), "1280x720 pixels, expected 640x360"),
    ],
)
def test_compat_minestudio_leaves_out_the_videos_that_minestudio_leaves_out(
    facts: tuple[int, int, float, int, int], objection: str | None
) -> None:
    assert video_objection(*facts) == objection


@pytest.mark.parametrize(("num_frames", "kept"), [(0, 0), (31, 0), (32, 32), (100, 96), (6000, 5984)])
def test_compat_minestudio_keeps_whole_chunks_of_32(num_frames: int, kept: int) -> None:
    assert kept_frames(num_frames) == kept


def test_content_is_cut_to_its_head_and_keeps_the_state_of_the_whole_log() -> None:
    n = 5
    content = RecordingContent(
        buttons=np.arange(n * 23, dtype=np.uint8).reshape(n, 23),
        camera=np.arange(n * 2.0).reshape(n, 2),
        gui=np.array([True, False, True, False, True]),
        cursor_window_px=np.arange(n * 2.0).reshape(n, 2),
        keep=np.array([True, True, False, True, True]),
        num_lines=7,
        state=CarryState(False, 3),
        breakage=Breakage(5, "broken_line", "line 6"),
    )
    head = content.head(2)
    assert (head.num_frames, head.num_lines, head.state) == (2, 7, CarryState(False, 3))
    assert head.camera.tolist() == [[0, 1], [2, 3]]
    assert head.gui.tolist() == [True, False]
    assert content.head(9).num_frames == n


def test_source_error_survives_the_way_to_another_process() -> None:
    error = pickle.loads(pickle.dumps(SourceError("x: bad", "wrong_schema")))
    assert (str(error), error.reason) == ("x: bad", "wrong_schema")
