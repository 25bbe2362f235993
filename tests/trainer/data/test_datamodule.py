"""The data module by the names of MineStudio's tutorial."""

import numpy as np
import pytest

from shards.errors import SettingsError
from tests.synthetic import HEIGHT, WIDTH, frame_number, make_dataset
from tests.trainer.batches import plain
from trainer.data.datamodule import RocketDataModule


def test_tutorials_parameters_give_windows_of_all_its_datasets(tmp_path):
    """Every frame of the episodes that train is seen once, in order, with masks; the others validate."""
    make_dataset(tmp_path / "dataset_6xx", [[40, 16, 25]])
    make_dataset(tmp_path / "dataset_7xx", [[33, 9], [20]])
    module = RocketDataModule(
        data_params={
            "mode": "raw",
            "dataset_dirs": [str(tmp_path / "dataset_6xx"), str(tmp_path / "dataset_7xx")],
            "frame_width": WIDTH,
            "frame_height": HEIGHT,
            "win_len": 16,
            "enable_segment": True,
        },
        batch_size=2,
        num_workers=1,
        prefetch_factor=4,
        split_ratio=0.7,
        shuffle_episodes=False,
        episode_continuous_batch=True,
    )
    module.setup("fit")
    seen: dict[int, list[int]] = {}
    num_masks = 0
    for batch in map(plain, module.train_dataloader()):
        assert batch["yuv"].shape == (2, 16, HEIGHT * 3 // 2, WIDTH)
        num_masks += np.count_nonzero(batch["segment/obj_mask_bits"])
        for lane in range(2):
            frames = [frame_number(yuv) for yuv in batch["yuv"][lane][batch["valid"][lane]]]
            seen.setdefault(int(batch["episode"][lane]), []).extend(frames)
    seen.pop(-1)
    # Unshuffled, 0.7 of the six episodes are the first four: all of the first dataset, and one of the second.
    assert seen == {episode: list(range(length)) for episode, length in enumerate([40, 16, 25, 33])}
    assert num_masks > 0
    val = [plain(batch) for batch in module.val_dataloader()]
    assert sum(int(batch["valid"].sum()) for batch in val) == 9 + 20
    module.teardown()


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"mode": "event"}, "data: mode: got 'event', expected raw. Leave it out."),
        ({"dataset_dir": ["a"]}, "data: unknown setting `dataset_dir`, did you mean `datasets`"),
    ],
)
def test_other_parameters_are_refused_by_name(params, message):
    with pytest.raises(SettingsError, match=message):
        RocketDataModule(data_params=params)
