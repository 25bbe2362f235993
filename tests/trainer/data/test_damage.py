import logging

import numpy as np
import pytest

from shards.errors import DatasetError, RocketError
from shards.reader import open_dataset
from tests.synthetic import make_dataset
from tests.trainer.batches import make_module, take


@pytest.fixture
def dataset(tmp_path):
    make_dataset(tmp_path / "dataset", [[40, 16], [33, 70]])
    return tmp_path / "dataset"


def damage_clip(folder, episode, clip, member="mp4"):
    """One byte of that clip's member differs from what the manifest says."""
    dataset = open_dataset(str(folder))
    row = dataset.clip_rows(episode)[clip]
    path = folder / f"{dataset.episodes.shard[episode]:06d}.tar"
    data = bytearray(path.read_bytes())
    data[getattr(row, f"{member}_offset") + getattr(row, f"{member}_size") // 2] ^= 0xFF
    path.write_bytes(data)


@pytest.mark.parametrize("member", ["mp4", "arrays", "json"])
@pytest.mark.parametrize("num_workers", [0, 2])
def test_damaged_clip_becomes_a_masked_window_in_an_unchanged_schedule(dataset, num_workers, member, caplog):
    whole = take(make_module(dataset, batch_size=2))
    damage_clip(dataset, 3, 1, member)
    module = make_module(dataset, batch_size=2, num_workers=num_workers, max_damaged_windows=1)
    with caplog.at_level(logging.WARNING):
        found = take(module)
    module.teardown()
    assert len(found) == len(whole)
    num_damaged = 0
    for batch, expected in zip(found, whole, strict=True):
        for name in ("episode", "start_frame", "stop_frame", "index", "last", "first", "lane"):
            assert np.array_equal(batch[name], expected[name])
        for lane in range(2):
            if (batch["episode"][lane], batch["start_frame"][lane]) == (3, 16):
                num_damaged += 1
                assert batch["damaged"][lane]
                assert not batch["valid"][lane].any()
                assert not batch["segment/obj_mask_bits"][lane].any()
                assert (batch["segment/obj_id"][lane] == -1).all()
                assert (batch["yuv"][lane, :, :32] == 16).all()
            else:
                assert not batch["damaged"][lane]
                assert np.array_equal(batch["yuv"][lane], expected["yuv"][lane])
                assert np.array_equal(batch["valid"][lane], expected["valid"][lane])
    assert num_damaged == 1
    (lost,) = module.damage.lost
    assert (lost.damage.episode_id, lost.damage.clip, lost.num_frames) == ("ep003", 1, 16)
    assert lost.damage.shard == f"{dataset}/000001.tar"
    assert "000001.tar: episode ep003, clip 1: checksum" in caplog.text


def test_clip_that_does_not_decode_becomes_a_masked_window(tmp_path, monkeypatch):
    # The checksum fits: the encoder itself wrote nonsense.
    from tests import synthetic

    real = synthetic.encode
    monkeypatch.setattr(synthetic, "encode", lambda frames: real(frames) if len(frames) != 13 else b"no mp4" * 50)
    make_dataset(tmp_path / "dataset", [[40, 29]])
    module = make_module(tmp_path / "dataset", batch_size=1, max_damaged_windows=1)
    damaged = [int(batch["start_frame"][0]) for batch in take(module) if batch["damaged"][0]]
    assert damaged == [16]
    assert "video: " in module.damage.lost[0].damage.problem


def test_window_over_two_clips_is_masked_as_a_whole_when_one_is_damaged(dataset):
    damage_clip(dataset, 3, 1)
    module = make_module(dataset, batch_size=1, win_len=32, max_damaged_windows=1)
    masked = [
        (int(batch["episode"][0]), int(batch["start_frame"][0])) for batch in take(module) if batch["damaged"][0]
    ]
    assert masked == [(3, 0)]
    assert [window.num_frames for window in module.damage.lost] == [32]


def test_damage_past_the_limit_stops_and_names_the_shards(dataset):
    damage_clip(dataset, 0, 0)
    damage_clip(dataset, 3, 2)
    module = make_module(dataset, batch_size=2, max_damaged_windows=1)
    with pytest.raises(
        RocketError,
        match=r"dataset/000000.tar, .*dataset/000001.tar: 2 windows are damaged, expected at most 1 "
        r"\(data.max_damaged_windows\)",
    ):
        take(module)


def test_damage_is_counted_once_over_epochs(dataset):
    damage_clip(dataset, 3, 2)
    module = make_module(dataset, batch_size=2, max_damaged_windows=1)
    damaged = sum(int(batch["damaged"].sum()) for batch in take(module, num_epochs=3))
    assert damaged == 3
    assert len(module.damage.lost) == 1


def test_missing_shard_is_named_before_the_first_step(dataset):
    (dataset / "000001.tar").unlink()
    with pytest.raises(DatasetError, match=r"dataset/000001\.tar: the shard is missing"):
        make_module(dataset)


def test_cut_shard_is_named_before_the_first_step(dataset):
    path = dataset / "000000.tar"
    path.write_bytes(path.read_bytes()[:-10240])
    with pytest.raises(DatasetError, match=r"dataset/000000\.tar: \d+ bytes, expected \d+"):
        make_module(dataset)


def test_rank_needs_only_the_shards_of_its_own_groups(dataset):
    module = make_module(dataset, batch_size=1, num_ranks=2, rank=0, num_lane_groups=2)
    (own,) = {int(shard) for shard, group in module.data.train.group_of_shard.items() if group == 0}
    (dataset / f"{1 - own:06d}.tar").unlink()
    assert take(make_module(dataset, batch_size=1, num_ranks=2, rank=0, num_lane_groups=2))
    with pytest.raises(DatasetError, match=rf"00000{1 - own}\.tar: the shard is missing"):
        make_module(dataset, batch_size=1, num_ranks=2, rank=1, num_lane_groups=2)
