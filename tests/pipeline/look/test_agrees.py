"""What `preview` and `plan` show is what training gets: held against the trainer's own data module."""

import numpy as np
import pytest

from pipeline.look.lane_plan import plan_lanes
from pipeline.look.preview import lane_stretches
from shards.display.shown_frame import yuv_to_rgb
from shards.schedule.collection import open_collection
from shards.schedule.settings import ScheduleSettings
from tests.synthetic import HEIGHT, WIDTH, make_dataset
from trainer.data.datamodule import RocketDataModule


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("num_datasets", [1, 2])
def test_lane_shows_what_the_data_module_feeds(small_dataset, tmp_path, split, num_datasets):
    make_dataset(tmp_path / "second", [[19, 50], [8]])
    paths = [str(small_dataset), str(tmp_path / "second")][:num_datasets]
    data = RocketDataModule(
        datasets=paths,
        win_len=16,
        frame_width=WIDTH,
        frame_height=HEIGHT,
        batch_size=2,
        num_workers=0,
        split_ratio=0.7,
        num_lane_groups=2,
        seed=5,
        rank=0,
        num_ranks=1,
    )
    data.setup()
    loader = data.train_dataloader() if split == "train" else data.val_dataloader()
    settings = ScheduleSettings(num_lanes=2, num_groups=2, window_frames=16, seed=5, split_ratio=0.7)
    plan = plan_lanes(open_collection(paths), settings, split=split)
    steps = [lane_stretches(plan, lane) for lane in range(2)]
    batches = [batch for batch, _ in zip(loader, range(plan.schedule.num_steps), strict=False)]
    assert len(batches) == plan.schedule.num_steps
    for number, batch in enumerate(batches):
        for lane in range(2):
            step = steps[lane][number]
            num_frames = int(batch["valid"][lane].sum())
            if not step.stop:
                assert (num_frames, int(batch["episode"][lane])) == (0, -1)
                continue
            assert num_frames == step.stop - step.start
            assert plan.collection.locate(int(batch["episode"][lane])) == (step.dataset, step.episode)
            assert int(batch["start_frame"][lane]) == step.start
            assert bool(batch["first"][lane, 0]) == (step.memory == "empty")
            for place, shown in enumerate(step.frames()):
                assert np.array_equal(shown.rgb, yuv_to_rgb(batch["yuv"][lane, place].numpy()))
                types = [item.interaction.type for item in shown.masks] or [-1]
                assert types == [int(batch["segment"]["obj_id"][lane, place])]
                bits = np.unpackbits(batch["segment"]["obj_mask_bits"][lane, place].numpy(), count=HEIGHT * WIDTH)
                mask = shown.masks[0].mask if shown.masks else np.zeros((HEIGHT, WIDTH), bool)
                assert np.array_equal(mask, bits.reshape(HEIGHT, WIDTH).astype(bool))
                assert shown.action.buttons.tolist() == batch["env_action"]["buttons"][lane, place].tolist()
    data.teardown()
