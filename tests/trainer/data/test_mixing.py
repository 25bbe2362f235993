"""Batches of datasets mixed by weight: the same for any ranks, workers and restarts."""

import json

import numpy as np
import pytest

from shards.errors import RocketError, SettingsError
from tests.synthetic import frame_number, make_dataset
from tests.trainer.batches import assert_same, joined, make_module, plain, take


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    """Two datasets, the second mixed in twice as often: 11 and 6 episodes of 1 to 90 frames."""
    root = tmp_path_factory.mktemp("mixed")
    make_dataset(root / "a", [[60, 36, 40], [1, 90, 53], [35, 37, 70], [28, 84]])
    make_dataset(root / "b", [[64, 5, 31], [48, 20, 9]])
    return {"path": str(root / "a"), "weight": 1.0}, {"path": str(root / "b"), "weight": 2.0}


@pytest.fixture(scope="module")
def reference(datasets):
    """Global batches of three epochs of 4 rows in 2 groups, and the state after each number of steps."""
    module = make_module(*datasets, num_lane_groups=2)
    batches, states = [], [module.state_dict()]
    for _ in range(3):
        for batch in module.train_dataloader():
            batches.append(plain(batch))
            states.append(module.state_dict())
    return batches, states


def test_lanes_of_mixed_datasets_go_through_whole_episodes(datasets, reference):
    lengths = make_module(*datasets).data.collection.num_frames
    at: dict[int, tuple[int, int]] = {}
    for batch in reference[0]:
        for row, lane in enumerate(batch["lane"].tolist()):
            episode, start, stop = (int(batch[name][row]) for name in ("episode", "start_frame", "stop_frame"))
            if episode < 0:
                assert lane not in at
                continue
            assert start == (at[lane][1] if lane in at else 0)
            assert episode == at.get(lane, (episode,))[0]
            assert bool(batch["first"][row, 0]) == (start == 0)
            shown = [frame_number(yuv) for yuv in batch["yuv"][row, : stop - start]]
            assert shown == [frame % 50 for frame in range(start, stop)]
            if stop == lengths[episode]:
                at.pop(lane, None)
            else:
                at[lane] = (episode, stop)
    lanes = {int(lane) for batch in reference[0] for lane in batch["lane"]}
    assert lanes == {0, 1, 2, 3, 4}  # 4 rows; the datasets take turns in one of them


@pytest.mark.parametrize("num_ranks", [2, 4])
def test_mixed_batches_do_not_depend_on_ranks_and_workers(datasets, reference, num_ranks):
    ranks = []
    for rank in range(num_ranks):
        module = make_module(
            *datasets, batch_size=4 // num_ranks, num_lane_groups=2, rank=rank, num_ranks=num_ranks, num_workers=1
        )
        ranks.append(take(module, num_epochs=3))
        module.teardown()
    assert_same(joined(ranks), reference[0])


@pytest.mark.parametrize("num_ranks", [1, 2])
def test_mixed_run_goes_on_exactly_on_any_number_of_ranks(datasets, reference, num_ranks):
    batches, states = reference
    for step in range(1, len(batches), 7):
        ranks = []
        for rank in range(num_ranks):
            module = make_module(
                *datasets, batch_size=4 // num_ranks, rank=rank, num_ranks=num_ranks, num_lane_groups=None
            )
            module.load_state_dict(json.loads(json.dumps(states[step])))
            rest = [plain(batch) for _ in range(3) for batch in module.train_dataloader()]
            ranks.append(rest[: len(batches) - step])
        assert_same(joined(ranks), batches[step:])


def test_mixed_run_validates_every_window_once(datasets):
    module = make_module(*datasets, split_ratio=0.6)
    windows = [
        (int(batch["episode"][row]), int(batch["start_frame"][row]))
        for batch in map(plain, module.val_dataloader())
        for row in range(4)
        if batch["episode"][row] >= 0
    ]
    lengths = module.data.collection.num_frames
    assert len(windows) == len(set(windows)) == sum(-(-int(lengths[ep]) // 16) for ep in module.data.val.episodes)


def test_other_weights_are_refused_on_resume(datasets, reference):
    other = [datasets[0], {**datasets[1], "weight": 3.0}]
    with pytest.raises(RocketError, match=r"the weights of data.datasets was 1.0:2.0, got 1.0:3.0"):
        make_module(*other, num_lane_groups=2).load_state_dict(reference[1][3])


def test_weight_that_is_not_positive_is_refused(datasets):
    with pytest.raises(SettingsError, match=r"data: datasets\[1\].weight: got 0, expected a number, more than 0"):
        make_module(datasets[0], {**datasets[1], "weight": 0})


def test_dataset_without_a_weight_counts_once(datasets):
    one = make_module(datasets[0]["path"], datasets[1], num_lane_groups=1)
    assert [share.share for share in one.data.train.shares] == pytest.approx([1 / 3, 2 / 3])
    assert np.isfinite([share.deviation for share in one.data.train.shares]).all()
