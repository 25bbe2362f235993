"""What a run takes of a GPU's memory, against what autograd really keeps."""

import torch

from tests.trainer.policies import random_window
from trainer.config import load_config, resolve_lanes
from trainer.gpu_memory import OTHER_BYTES, GpuMemory, memory_lines
from trainer.policy import RocketPolicy
from trainer.policy_facts import count_policy
from trainer.settings import RunConfig

SMALL = (
    "data.win_len=4", "policy.timesteps=4", "policy.hiddim=32", "policy.num_heads=2", "data.frame_width=32",
    "data.frame_height=32", "policy.mem_len=4",
)  # fmt: skip


def small() -> RunConfig:
    return resolve_lanes(load_config("demo", SMALL), 1)


def test_activations_are_those_that_autograd_keeps_on_a_real_pass() -> None:
    config = small()
    policy = RocketPolicy(**config.policy_arguments(), pretrained=False).train()
    own = {tensor.untyped_storage().data_ptr() for tensor in (*policy.parameters(), *policy.buffers())}
    kept: dict[int, torch.Tensor] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        policy(random_window(1, 4), None)
    expected = sum(tensor.untyped_storage().nbytes() for tensor in kept.values())
    counted = count_policy(config).activation_bytes
    assert counted is not None
    assert abs(counted / expected - 1) < 0.1  # the window here is RGB, there YUV


MEMORY = GpuMemory(weights=10**9, lane=10**8, activations=3 * 10**9, num_lanes=10, micro_lanes=5)


def test_lanes_that_fit_are_the_largest_divisor_for_which_there_is_room() -> None:
    assert MEMORY.total == 10**9 + 10**9 + 15 * 10**9 + OTHER_BYTES
    assert [MEMORY.lanes_that_fit(giga * 1e9, 10) for giga in (5, 8, 24, 80)] == [0, 1, 5, 10]


def test_lines_say_what_is_computed_and_what_to_set_on_the_gpus_here() -> None:
    lines = memory_lines(MEMORY, 20, [16 * 10**9] * 3)
    assert lines[0] == "GPU memory   19.0 GB, computed and not measured"
    assert lines[-2].endswith("lanes at once that fit (trainer.micro_lanes): 24 GB: 5, 80 GB: 10")
    assert lines[-1].endswith("on the 3 x 16 GB found here: trainer.devices=2 trainer.micro_lanes=2")
    assert memory_lines(MEMORY, 20, [4 * 10**9])[-1].endswith("on the 1 x 4 GB found here: not even one lane fits")
    assert memory_lines(MEMORY, 20, [])[-1] == lines[-2]
