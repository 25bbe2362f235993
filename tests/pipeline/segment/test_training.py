"""Made masks are worth as much to a policy as true ones: the same goals, and a step of training on them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from pipeline.build.job import build_shards
from pipeline.segment.job import SegmentReport
from pipeline.settings import BuildSettings
from shards import open_dataset
from shards.display.footage import goals_of
from shards.schedule.goals import NO_GOAL
from tests.pipeline.inline_engine import InlineEngine
from tests.pipeline.segment.agreement import known_recordings, write_counted
from tests.pipeline.segment.painted import SETTINGS
from tests.trainer.runs import fit, small_config

SMALL = BuildSettings(frame_width=64, frame_height=64)


def test_made_masks_give_the_goals_of_the_true_ones_and_train_a_step(
    sample: Path, segmented: SegmentReport, tmp_path: Path
) -> None:
    counted = tmp_path / "counted"
    counted.mkdir()
    for known in known_recordings(sample, SETTINGS):
        write_counted(known, counted)
    types = []
    for name, masks in (("true", counted), ("made", segmented.out)):
        build_shards([sample / "data", masks], tmp_path / name, SMALL, InlineEngine())
        dataset = open_dataset(str(tmp_path / name))
        found = []
        for episode in range(len(dataset.episodes.ids)):
            kinds = np.array([one.type for one in dataset.interactions(episode)] + [NO_GOAL])
            found.append(kinds[goals_of(dataset, episode, seed=1, epoch=0)])
        types.append(np.concatenate(found))
    true, made = types
    both = (true != NO_GOAL) & (made != NO_GOAL)
    assert both.sum() >= 0.85 * (true != NO_GOAL).sum()
    assert (true[both] == made[both]).mean() >= 0.97

    words = ("frame_width=64", "frame_height=64", "batch_size=1", "num_lane_groups=null")
    config = small_config(
        tmp_path / "made", tmp_path / "run", *(f"data.{word}" for word in words), "trainer.max_steps=1"
    )
    assert fit(config).trainer.global_step == 1
