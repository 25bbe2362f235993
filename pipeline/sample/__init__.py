"""A little blocky game, played by a script and recorded exactly as the contractors' sessions were."""

from pipeline.sample.barcode import FrameMark
from pipeline.sample.make import SampleRecording, SampleSettings, SampleSummary, make_sample
from pipeline.sample.story import RECALL_EVENT, StorySettings

__all__ = [
    "RECALL_EVENT",
    "FrameMark",
    "SampleRecording",
    "SampleSettings",
    "SampleSummary",
    "StorySettings",
    "make_sample",
]
