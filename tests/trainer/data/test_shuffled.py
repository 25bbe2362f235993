import itertools
import random

import numpy as np
import pytest

from shards.reader import open_dataset
from tests.shards.servers import http_server
from tests.synthetic import frame_number, make_dataset
from tests.trainer.batches import assert_same, joined, make_module, plain, take

LENGTHS = [[60, 36, 40], [1, 90, 53], [35, 37, 70], [28, 84]]


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shuffled") / "dataset"
    make_dataset(folder, LENGTHS)
    return folder


def make_shuffled(*datasets, **settings):
    return make_module(*datasets, episode_continuous_batch=False, **{"num_lane_groups": 2, **settings})


def windows_of(batches):
    return [
        (int(batch["episode"][lane]), int(batch["start_frame"][lane]), int(batch["stop_frame"][lane]))
        for batch in batches
        for lane in range(len(batch["lane"]))
        if batch["episode"][lane] >= 0
    ]


@pytest.fixture(scope="module")
def reference(dataset):
    return take(make_shuffled(dataset), num_epochs=2)


@pytest.mark.parametrize("win_len", [8, 16, 24, 48, 200])
def test_every_window_comes_once_an_epoch_and_shows_its_frames(dataset, win_len):
    batches = take(make_shuffled(dataset, win_len=win_len))
    lengths = [length for shard in LENGTHS for length in shard]
    expected = {
        (episode, start, min(start + win_len, length))
        for episode, length in enumerate(lengths)
        for start in range(0, length, win_len)
    }
    found = windows_of(batches)
    assert len(found) == len(expected)
    assert set(found) == expected
    for batch in batches:
        for lane in range(4):
            frames = range(int(batch["start_frame"][lane]), int(batch["stop_frame"][lane]))
            assert batch["valid"][lane].sum() == len(frames)
            shown = [frame_number(yuv) for yuv in batch["yuv"][lane][: len(frames)]]
            assert shown == [frame % 50 for frame in frames]
            assert batch["first"][lane].tolist() == [len(frames) > 0, *[False] * (win_len - 1)]


def test_windows_are_shuffled_anew_each_epoch(reference):
    half = len(reference) // 2
    first, second = windows_of(reference[:half]), windows_of(reference[half:])
    assert set(first) == set(second)
    assert first != second
    neighbours = sum(a[0] == b[0] and a[2] == b[1] for a, b in itertools.pairwise(first))
    assert neighbours < len(first) / 4


@pytest.mark.parametrize("num_ranks", [2, 4])
def test_shuffled_batches_do_not_depend_on_the_number_of_ranks(dataset, reference, num_ranks):
    ranks = [
        take(make_shuffled(dataset, batch_size=4 // num_ranks, rank=rank, num_ranks=num_ranks), num_epochs=2)
        for rank in range(num_ranks)
    ]
    assert_same(joined(ranks), reference)


def test_shuffled_batches_do_not_depend_on_the_number_of_workers(dataset, reference):
    module = make_shuffled(dataset, num_workers=2)
    assert_same(take(module, num_epochs=2), reference)
    module.teardown()


def test_shuffled_batches_show_the_same_masks_and_actions_as_lanes(dataset, reference):
    by_window = {}
    for batch in take(make_module(dataset)):
        for lane in range(4):
            by_window[int(batch["episode"][lane]), int(batch["start_frame"][lane])] = {
                name: array[lane] for name, array in batch.items() if array.ndim
            }
    for batch in reference[: len(reference) // 2]:
        for lane in range(4):
            if batch["episode"][lane] >= 0:
                expected = by_window[int(batch["episode"][lane]), int(batch["start_frame"][lane])]
                for name in expected:
                    if name not in ("first", "last", "lane"):
                        assert np.array_equal(batch[name][lane], expected[name]), name


def test_shuffled_batches_go_on_from_every_step(dataset, reference):
    states, module = [], make_shuffled(dataset)
    for _ in range(2):
        states += [module.state_dict() for _ in module.train_dataloader()]
    for step in range(1, len(reference), 3):
        module = make_shuffled(dataset)
        module.load_state_dict(states[step - 1])
        rest = [plain(batch) for _ in range(2) for batch in module.train_dataloader()]
        assert_same(rest[: len(reference) - step], reference[step:])


def test_shuffled_batches_have_equal_steps_on_every_rank_and_validate(dataset):
    modules = [
        make_shuffled(dataset, batch_size=1, rank=rank, num_ranks=3, num_lane_groups=3, split_ratio=0.7)
        for rank in range(3)
    ]
    assert len({len(take(module)) for module in modules}) == 1
    validated = windows_of([plain(batch) for module in modules for batch in module.val_dataloader()])
    trained = windows_of([batch for module in modules for batch in take(module)])
    assert validated
    assert not {episode for episode, *_ in validated} & {episode for episode, *_ in trained}
    assert len(set(validated)) == len(validated)
    assert len(set(trained)) == len(trained)


def test_shuffled_batches_mask_a_damaged_clip(tmp_path, dataset):
    make_dataset(tmp_path / "dataset", LENGTHS)
    row = open_dataset(tmp_path / "dataset").clip_rows(4)[2]
    path = tmp_path / "dataset" / "000001.tar"
    data = bytearray(path.read_bytes())
    data[row.mp4_offset + 100] ^= 0xFF
    path.write_bytes(data)
    module = make_shuffled(tmp_path / "dataset", max_damaged_windows=1)
    damaged = [
        (int(batch["episode"][lane]), int(batch["start_frame"][lane]))
        for batch in take(module)
        for lane in np.flatnonzero(batch["damaged"])
    ]
    assert damaged == [(4, 32)]


def test_shuffled_batches_come_from_an_address(dataset, reference):
    with http_server(dataset) as (url, _):
        assert_same(take(make_shuffled(url), num_epochs=2), reference)


def test_shuffling_leaves_the_global_random_state_alone(dataset):
    random.seed(3)
    state = random.getstate()
    take(make_shuffled(dataset))
    assert random.getstate() == state
