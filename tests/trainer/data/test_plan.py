import itertools
import json

import numpy as np
import pytest

from shards.errors import RocketError
from tests.synthetic import make_dataset
from tests.trainer.batches import assert_same, joined, make_module, plain, take


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    folder = tmp_path_factory.mktemp("position") / "dataset"
    make_dataset(folder, [[60, 36, 40], [1, 90, 53], [35, 37, 70], [28, 84]])
    return folder


@pytest.fixture(scope="module")
def reference(dataset):
    """Global batches of two epochs of 4 lanes in 2 groups, and the state after each number of steps."""
    module = make_module(dataset, num_lane_groups=2)
    loader = module.train_dataloader()
    batches, states = [], [module.state_dict()]
    for _ in range(2):
        for batch in loader:
            batches.append(plain(batch))
            states.append(module.state_dict())
    return batches, states


def rest(dataset, state, num_steps, **settings):
    """The next batches of a module that starts from that state."""
    module = make_module(dataset, **settings)
    module.load_state_dict(json.loads(json.dumps(state)))
    loader, batches = module.train_dataloader(), []
    for _ in range(num_steps):  # epochs, of a step each or more
        batches += [plain(batch) for batch in itertools.islice(loader, num_steps - len(batches))]
    module.teardown()
    return batches


def test_resume_from_every_step_of_two_epochs_gives_the_rest(dataset, reference):
    batches, states = reference
    assert len(batches) == 2 * len(make_module(dataset, num_lane_groups=2).train_dataloader()) >= 20
    for step in range(len(batches)):
        assert_same(rest(dataset, states[step], len(batches) - step, num_lane_groups=2), batches[step:])


@pytest.mark.parametrize("num_workers", [1, 3])
def test_resume_with_another_number_of_workers_gives_the_rest(dataset, reference, num_workers):
    batches, states = reference
    for step in (1, len(batches) // 2, len(batches) - 2):
        found = rest(dataset, states[step], len(batches) - step, num_lane_groups=2, num_workers=num_workers)
        assert_same(found, batches[step:])


@pytest.mark.parametrize("num_ranks", [1, 2, 4])
def test_resume_on_another_number_of_ranks_gives_the_rest(dataset, reference, num_ranks):
    batches, states = reference
    for step in (3, len(batches) // 2 + 2):
        # The groups are not set: those of the saved run count, not today's ranks.
        found = [
            rest(
                dataset,
                states[step],
                len(batches) - step,
                batch_size=4 // num_ranks,
                rank=rank,
                num_ranks=num_ranks,
                num_lane_groups=None,
            )
            for rank in range(num_ranks)
        ]
        assert_same(joined(found), batches[step:])


def test_state_is_the_same_on_every_rank(dataset):
    states = []
    for rank in range(2):
        module = make_module(dataset, batch_size=2, rank=rank, num_ranks=2, num_lane_groups=2)
        for _ in zip(range(3), module.train_dataloader(), strict=False):
            pass
        states.append(module.state_dict())
    assert states[0] == states[1]
    assert (states[0]["epoch"], states[0]["step"]) == (0, 3)


def test_state_is_a_few_plain_values(reference):
    _, states = reference
    assert all(isinstance(value, int | float | str | bool) for value in states[-1].values())
    assert len(states[-1]) <= 13


def test_state_that_was_loaded_is_saved_again_before_the_first_step(dataset, reference):
    _, states = reference
    module = make_module(dataset, num_lane_groups=2)
    module.load_state_dict(states[5])
    assert module.state_dict() == states[5]
    module.train_dataloader()
    assert module.state_dict() == states[5]


def test_position_moves_over_the_end_of_an_epoch(dataset, reference):
    batches, states = reference
    num_steps = len(batches) // 2
    assert [(state["epoch"], state["step"]) for state in states] == [
        divmod(step, num_steps) for step in range(len(batches) + 1)
    ]


def test_loader_goes_back_to_an_earlier_position(dataset, reference):
    batches, states = reference
    module = make_module(dataset, num_lane_groups=2, num_workers=1)
    for _ in zip(range(7), module.train_dataloader(), strict=False):
        pass
    module.load_state_dict(states[2])
    found = [plain(batch) for _, batch in zip(range(3), module.train_dataloader(), strict=False)]
    assert_same(found, batches[2:5])
    module.teardown()


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"batch_size": 8}, r"the global batch \(data.batch_size x ranks\) was 4, got 8"),
        ({"win_len": 32}, r"data.win_len was 16, got 32"),
        ({"seed": 6}, r"seed was 5, got 6"),
        ({"split_ratio": 0.5}, r"data.split_ratio was 1.0, got 0.5; .*episodes that train was 11, got 6"),
        ({"shuffle_episodes": False}, r"data.shuffle_episodes was True, got False"),
        ({"num_lane_groups": 4}, r"data.num_lane_groups was 2, got 4"),
    ],
)
def test_resume_with_other_settings_is_refused_by_name(dataset, reference, settings, problem):
    _, states = reference
    with pytest.raises(RocketError, match=problem):
        make_module(dataset, **{"num_lane_groups": 2, **settings}).load_state_dict(states[3])


def test_resume_with_another_dataset_is_refused_by_name(dataset, reference, tmp_path):
    make_dataset(tmp_path / "other", [[60, 36, 40], [1, 90, 53], [35, 37, 70], [28, 83]])
    _, states = reference
    with pytest.raises(RocketError, match=r"the fingerprint of data.datasets was [0-9a-f]{64}, got [0-9a-f]{64}"):
        make_module(tmp_path / "other", num_lane_groups=2).load_state_dict(states[3])


def test_state_of_an_unknown_version_is_refused(dataset, reference):
    with pytest.raises(RocketError, match="data position of version 99, expected 2"):
        make_module(dataset, num_lane_groups=2).load_state_dict({**reference[1][3], "version": 99})


def test_order_without_shuffling_is_the_stored_one(dataset):
    batches = take(make_module(dataset, batch_size=1, shuffle_episodes=False), num_epochs=2)
    starts = [int(batch["episode"][0]) for batch in batches if batch["first"][0, 0]]
    assert starts == [*range(11), *range(11)]


def test_lanes_are_in_steps_with_their_position(reference):
    batches, _ = reference
    num_steps = len(batches) // 2
    assert [(int(batch["epoch"]), int(batch["step"])) for batch in batches] == [
        divmod(step, num_steps) for step in range(len(batches))
    ]
    assert all(np.array_equal(batch["lane"], np.arange(4)) for batch in batches)
