from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.sample.make import SampleSettings
from pipeline.segment.choice import TrackerChoice
from pipeline.segment.job import SegmentReport, segment_recordings
from tests.pipeline.inline_engine import InlineEngine
from tests.pipeline.segment.painted import SETTINGS, make_painted_sample

COLOUR = TrackerChoice("tests.pipeline.segment.painted:ColourTracker", "", "cpu", title="colour")


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five recordings of two sessions in painted goals."""
    out = tmp_path_factory.mktemp("segment") / "sample"
    make_painted_sample(
        out, SampleSettings(seed=4, num_sessions=2, min_recording_frames=130, max_recording_frames=180)
    )
    return out


@pytest.fixture(scope="session")
def segmented(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> SegmentReport:
    """The sample's masks, made in this process."""
    out = tmp_path_factory.mktemp("segment") / "masks"
    return segment_recordings([sample], out, SETTINGS, COLOUR, InlineEngine())
