"""The records between sources and build."""

from __future__ import annotations

import pickle

import numpy as np

from pipeline.recording import Breakage, CarryState, RecordingContent, SourceError


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
