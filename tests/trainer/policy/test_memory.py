"""Memories live by lane, outside the model, and travel through checkpoints."""

import multiprocessing
import re
import socket

import pytest
import torch

from shards.errors import RocketError
from tests.trainer.memories import empty, gather_in_rank, lanes_of, marked
from tests.trainer.policies import cut, logits, random_window, tiny_policy
from trainer.policy.memory import LaneMemory, initial_memory


def test_initial_memory_counts_no_frame():
    memory = initial_memory(5, num_layers=2, mem_len=3, width=4)
    assert [tuple(tensor.shape) for tensor in memory] == [(5, 1, 3), (5, 3, 4), (5, 3, 4)] * 2
    assert [tensor.dtype for tensor in memory] == [torch.bool, torch.float32, torch.float32] * 2
    assert not any(tensor.any() for tensor in memory)


def test_lanes_keep_their_memory_in_any_order_of_the_batch():
    memory = LaneMemory(empty, range(8, 12))
    memory.store(torch.tensor([10, 8, 11, 9]), marked([10, 8, 11, 9]))
    assert lanes_of(memory.fetch(torch.tensor([9, 11]))) == [9, 11]
    memory.store(torch.tensor([9]), marked([90]))
    assert lanes_of(memory.fetch(torch.tensor([8, 9, 10, 11]))) == [8, 90, 10, 11]


def test_lanes_that_never_stored_have_empty_memory():
    memory = LaneMemory(empty, range(2))
    memory.store(torch.tensor([1]), marked([1]))
    assert lanes_of(memory.fetch(torch.tensor([0, 1]))) == [0, 1]
    assert not memory.fetch(torch.tensor([0]))[0].any()


def test_first_empties_a_lane_where_the_window_starts_an_episode():
    memory = LaneMemory(empty, range(3))
    memory.store(
        torch.arange(3),
        [*marked([1, 2, 3])[:1], *(t * float("nan") for t in marked([1, 2, 3])[1:3]), *marked([1, 2, 3])[3:]],
    )
    first = torch.tensor([[False, False], [True, False], [False, True]])
    fetched = memory.fetch(torch.arange(3), first)
    assert fetched[0].any(dim=-1).squeeze(1).tolist() == [True, False, True]
    assert fetched[1].isnan().any(dim=-1).any(dim=-1).tolist() == [True, False, True]
    assert memory.fetch(torch.arange(3))[0].all(), "the store itself is left alone"


def test_stored_memory_is_a_copy_without_gradient():
    memory = LaneMemory(empty, range(1))
    new = marked([5])
    new[1].requires_grad_()
    memory.store(torch.tensor([0]), new)
    with torch.no_grad():
        new[1].zero_()
    fetched = memory.fetch(torch.tensor([0]))
    assert lanes_of(fetched) == [5]
    assert not fetched[1].requires_grad


def test_training_through_lane_memory_equals_carrying_it_by_hand():
    policy = tiny_policy().train()
    frames = random_window(2, 24)
    lanes = LaneMemory(policy.initial_state, range(2))
    lane, by_hand = torch.arange(2), None
    for start in range(0, 24, 8):
        window = cut(frames, start, start + 8)
        torch.manual_seed(start)
        output = policy(window, lanes.fetch(lane))
        lanes.store(lane, output[1])
        logits(output).sum().backward()  # storing must not disturb what the backward pass needs
        torch.manual_seed(start)
        expected = policy(window, by_hand)
        by_hand = expected[1]
    for kept, memory in zip(lanes.fetch(lane), by_hand, strict=True):
        torch.testing.assert_close(kept, memory, rtol=0, atol=1e-6)


def test_checkpointed_memory_goes_to_the_lanes_of_another_split():
    halves = []
    for lanes in ([0, 1], [2, 3]):
        memory = LaneMemory(empty, lanes)
        memory.store(torch.tensor(lanes), marked(lanes))
        halves.append(memory.gather())
    whole = {
        "lanes": torch.cat([half["lanes"] for half in halves]),
        "memory": [torch.cat(parts) for parts in zip(*(half["memory"] for half in halves), strict=True)],
    }
    for lanes in ([0, 1, 2, 3], [1, 2], [3]):
        memory = LaneMemory(empty, lanes)
        memory.load_state_dict(whole)
        assert lanes_of(memory.fetch(torch.tensor(lanes))) == lanes
        assert memory.fetch(torch.tensor(lanes))[0].all()


def test_state_is_a_snapshot():
    memory = LaneMemory(empty, range(2))
    memory.store(torch.arange(2), marked([1, 2]))
    state = memory.gather()
    memory.store(torch.arange(2), marked([3, 4]))
    assert lanes_of(state["memory"]) == [1, 2]
    memory.load_state_dict(state)
    memory.store(torch.arange(2), marked([5, 6]))
    assert lanes_of(state["memory"]) == [1, 2]


def test_reset_forgets_every_lane():
    memory = LaneMemory(empty, range(2))
    memory.store(torch.arange(2), marked([1, 2]))
    memory.reset()
    assert not memory.fetch(torch.arange(2))[0].any()


def state(lanes, **sizes):
    memory = initial_memory(len(lanes), **{"num_layers": 2, "mem_len": 3, "width": 4, **sizes})
    return {"lanes": torch.tensor(lanes), "memory": memory}


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        (state([0, 1]), "checkpoint: no memory of lanes 2 to 3, got 2 lanes. Continue with the same global batch"),
        (
            state([2, 3], num_layers=3),
            "a lane in 9 tensors, expected [(1, 3), (3, 4), (3, 4)] in 6. Keep policy.num_layers",
        ),
        (
            state([2, 3], mem_len=5),
            "checkpoint: memory of another policy, got [(1, 5), (5, 4), (5, 4)] a lane in 6 tensors",
        ),
        (
            state([2, 3], width=8),
            "got [(1, 3), (3, 8), (3, 8)] a lane in 6 tensors, expected [(1, 3), (3, 4), (3, 4)] in 6",
        ),
    ],
)
def test_memory_of_other_lanes_or_another_policy_is_refused(saved, message):
    with pytest.raises(RocketError, match=re.escape(message)):
        LaneMemory(empty, [2, 3]).load_state_dict(saved)


def test_gather_brings_all_ranks_lanes_together_in_order():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    ranks = [context.Process(target=gather_in_rank, args=(rank, port, queue)) for rank in range(2)]
    for process in ranks:
        process.start()
    got = sorted(queue.get(timeout=120) for _ in ranks)
    for process in ranks:
        process.join(30)
    expected = ([0, 1, 2, 3], [0.0, 0.0, 2.0, 3.0], [False, False, True, True])
    assert got == [(0, *expected), (1, *expected)]


def test_gather_without_ranks_is_the_state_itself():
    memory = LaneMemory(empty, range(2))
    memory.store(torch.arange(2), marked([1, 2]))
    assert lanes_of(memory.gather()["memory"]) == [1, 2]
