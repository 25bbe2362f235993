"""What MineStudio's converter leaves out."""

import pytest

from pipeline.recording import FrameCounts, VideoHeader
from pipeline.sources.minestudio_rules import video_objection


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
    num_frames, num_lines, rate, width, height = facts
    header = VideoHeader((width, height), FrameCounts(num_frames, num_frames), rate, rate)
    assert video_objection(header, num_lines) == objection
