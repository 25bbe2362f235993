import pytest

from shards.errors import DatasetError, RocketError
from tests.synthetic import make_dataset
from tests.trainer.batches import make_module, take


@pytest.fixture(scope="module")
def datasets(tmp_path_factory):
    root = tmp_path_factory.mktemp("splits")
    make_dataset(root / "a", [[40, 16], [1, 70, 33], [15, 17]])
    make_dataset(root / "b", [[64, 5, 31]])
    return root / "a", root / "b"


def test_datasets_are_read_as_one(datasets):
    module = make_module(*datasets)
    assert module.data.collection.num_frames.tolist() == [40, 16, 1, 70, 33, 15, 17, 64, 5, 31]
    assert module.data.collection.shard.tolist() == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]
    assert {int(ep) for batch in take(module) for ep in batch["episode"]} - {-1} == set(range(10))
    assert module.data.collection.fingerprint != make_module(*datasets[::-1]).data.collection.fingerprint


def test_split_is_the_same_on_every_rank_and_leaves_nothing_out(datasets):
    modules = [make_module(*datasets, split_ratio=0.7, batch_size=2, rank=rank, num_ranks=2) for rank in range(2)]
    splits = [(m.data.train.episodes.tolist(), m.data.val.episodes.tolist()) for m in modules]
    assert splits[0] == splits[1]
    assert sorted(splits[0][0] + splits[0][1]) == list(range(10))
    assert len(splits[0][1]) == 3


def test_split_without_shuffling_takes_the_last_episodes_for_validation(datasets):
    module = make_module(*datasets, split_ratio=0.7, shuffle_episodes=False)
    assert module.data.val.episodes.tolist() == [7, 8, 9]


def test_dataset_that_stands_there_twice_is_refused(datasets):
    with pytest.raises(DatasetError, match=r"a: the same dataset as .*a, so its windows would be seen twice"):
        make_module(datasets[0], datasets[1], datasets[0])


def test_empty_list_of_datasets_is_refused():
    with pytest.raises(RocketError, match=r"data.datasets: no dataset, got an empty list"):
        make_module()


def test_frames_of_another_size_than_asked_for_are_refused(datasets):
    with pytest.raises(RocketError, match=r"a: its frames are 48x32, got .* = 224x224. Use data.frame_width=48"):
        make_module(datasets[0], frame_width=224, frame_height=224)


def test_datasets_of_different_frame_sizes_are_refused(datasets, tmp_path, monkeypatch):
    from tests import synthetic

    monkeypatch.setattr(synthetic, "WIDTH", 64)
    make_dataset(tmp_path / "wide", [[20]])
    with pytest.raises(RocketError, match=r"wide: frames of another size, got 64x32, expected 48x32 as in .*a"):
        make_module(datasets[0], tmp_path / "wide")


def test_lanes_that_contradict_each_other_are_refused(datasets):
    with pytest.raises(RocketError, match=r"data.num_lanes: 2 ranks of 4 lanes are 8, got 12"):
        make_module(datasets[0], num_lanes=12, num_ranks=2, rank=0)


def test_groups_that_do_not_divide_the_lanes_are_refused(datasets):
    with pytest.raises(RocketError, match=r"num_lane_groups: 4 lanes do not form equal groups, got 3 groups"):
        make_module(datasets[0], num_lane_groups=3)


def test_fewer_shards_than_groups_are_assigned_by_episode(datasets):
    assert make_module(datasets[0], batch_size=4, num_lane_groups=4).data.train.by_episode


def test_dataset_without_its_manifest_is_named(tmp_path):
    (tmp_path / "half").mkdir()
    with pytest.raises(DatasetError, match=r"half: no dataset.json, .*rocket-prep build-shards"):
        make_module(tmp_path / "half")


def test_loader_is_closed_and_iterated_again(datasets):
    module = make_module(datasets[0], num_workers=1)
    loader = module.train_dataloader()
    first = len(list(loader))
    module.teardown()
    assert loader._pool is None
    assert len(list(loader)) == first == len(loader)
    assert loader.position == (2, 0)
    module.teardown()
