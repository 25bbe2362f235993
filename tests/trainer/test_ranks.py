"""What ranks do together: steps in which one has no frame, exchanges on the right device, who starts them."""

import multiprocessing
import socket
from typing import Any

import pytest
import torch
import torch.distributed as dist
from lightning.pytorch.callbacks import Callback
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from shards.errors import SettingsError
from tests.trainer.memories import marked
from tests.trainer.rank_without_frames import BATCH_NORMS, COMBINATIONS, train_in_rank
from tests.trainer.runs import fit, make_run_dataset, small_config
from trainer.collectives import gather_objects, gather_rows, mean_over_ranks, sum_over_ranks
from trainer.devices import count_ranks
from trainer.policy.memory import LaneMemory, initial_memory
from trainer.ranks import is_main_process


@pytest.fixture(scope="module")
def steps() -> dict[tuple[Any, ...], dict[int, tuple[list[float], bool]]]:
    """For every combination of settings, each rank's gradient norms and whether its statistics moved."""
    context = multiprocessing.get_context("spawn")
    queue = context.SimpleQueue()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [context.Process(target=train_in_rank, args=(rank, port, queue)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(240)
    assert [process.exitcode for process in processes] == [0, 0]
    found: dict[tuple[Any, ...], dict[int, tuple[list[float], bool]]] = {}
    while not queue.empty():
        rank, combination, norms, moved = queue.get()
        found.setdefault(combination, {})[rank] = (norms, moved)
    return found


@pytest.mark.parametrize("combination", COMBINATIONS)
def test_rank_without_frames_takes_part_in_the_step(steps, combination) -> None:
    (norms, moved), (other_norms, other_moved) = (steps[combination][rank] for rank in range(2))
    assert norms == other_norms
    assert all(0 < norm < float("inf") for norm in norms)
    assert moved == (combination[0] != "frozen")
    assert not other_moved


@pytest.mark.parametrize("batch_norm", BATCH_NORMS)
def test_activation_checkpointing_changes_no_gradient(steps, batch_norm) -> None:
    expected, norms = (steps[batch_norm, checkpointing][0][0] for checkpointing in (False, True))
    assert norms == pytest.approx(expected, rel=1e-4, abs=1e-5)


class Exchanges(TorchDispatchMode):
    """The names of what is exchanged."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "c10d":
            self.names.append(func.__name__)
        return func(*args, **(kwargs or {}))


class StepsApart(Callback):
    """Notes what was exchanged up to the end of each step."""

    def __init__(self, exchanges: Exchanges) -> None:
        self.exchanges, self.by_step = exchanges, []

    def on_train_batch_end(self, *_: Any) -> None:
        self.by_step.append(self.exchanges.names)
        self.exchanges.names = []


def test_step_exchanges_two_sums_and_waits_at_no_barrier(tmp_path, monkeypatch) -> None:
    config = small_config(make_run_dataset(tmp_path / "data"), tmp_path, "trainer.max_steps=3")
    config = config.model_copy(update={"trainer": config.trainer.model_copy(update={"val_every": None})})
    for place in ("learning.module", "collectives"):
        monkeypatch.setattr(f"trainer.{place}.gather_objects", lambda value: [value])
    from torch.testing._internal.distributed.fake_pg import FakeStore

    exchanges = Exchanges()
    steps = StepsApart(exchanges)
    dist.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    try:
        with exchanges:
            fit(config, steps)
    finally:
        dist.destroy_process_group()
    assert steps.by_step == [["allreduce_.default"] * 2] * 3


LOADED = marked([0, 1])
"""The memory of two lanes, as a checkpoint has it: on the CPU."""


class OnlyOnTheGpu(TorchDispatchMode):
    """Refuses to send what is on a CPU, as NCCL does."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func.namespace == "c10d":
            for leaf in tree_leaves((args, kwargs)):
                if isinstance(leaf, torch.Tensor) and leaf.device.type != "cuda":
                    raise RuntimeError(f"{func} got a tensor of the {leaf.device.type}")
        return func(*args, **(kwargs or {}))


@pytest.fixture
def nccl_like(monkeypatch):
    """A group of two ranks whose exchanges do nothing, on GPUs that need not exist."""
    monkeypatch.setattr("trainer.collectives.gather_objects", lambda value: [value, value])
    from torch.testing._internal.distributed.fake_pg import FakeStore

    dist.init_process_group("fake", rank=0, world_size=2, store=FakeStore())
    with FakeTensorMode(allow_non_fake_inputs=True), OnlyOnTheGpu():
        yield torch.device("cuda", 0)
    dist.destroy_process_group()


def test_everything_that_is_exchanged_goes_to_the_device_first(nccl_like) -> None:
    for exchange in (sum_over_ranks, mean_over_ranks, gather_rows):
        assert exchange(torch.ones(3), nccl_like).device == nccl_like
    with pytest.raises(RuntimeError, match="got a tensor of the cpu"):
        dist.all_reduce(torch.ones(3))


def test_memory_that_was_loaded_and_never_used_is_gathered_on_the_device(nccl_like) -> None:
    on_device = False

    def empty(num_lanes: int) -> list[torch.Tensor]:
        return initial_memory(num_lanes, 2, 3, 4, nccl_like if on_device else torch.device("cpu"))

    memory = LaneMemory(empty, range(2))
    memory.load_state_dict({"lanes": [0, 1], "memory": LOADED})
    on_device = True
    gathered = memory.gather()
    assert [tuple(tensor.shape) for tensor in gathered["memory"][:2]] == [(4, 1, 3), (4, 3, 4)]


def test_rank_alone_exchanges_with_itself() -> None:
    cpu = torch.device("cpu")
    assert gather_objects("x") == ["x"]
    assert (
        gather_rows(torch.arange(3), cpu).tolist() == mean_over_ranks(torch.arange(3), cpu).tolist() == [0, 1, 2]
    )


SBATCH = {"SLURM_NTASKS": "1", "SLURM_JOB_NAME": "rocket", "SLURM_PROCID": "0", "SLURM_JOB_ID": "7"}
TORCHRUN = {"TORCHELASTIC_RUN_ID": "none", "WORLD_SIZE": "4", "RANK": "2", "LOCAL_RANK": "0", "GROUP_RANK": "1"}


def test_torchruns_variables_win_inside_an_sbatch_job(monkeypatch, tmp_path) -> None:
    for name, value in {**SBATCH, **TORCHRUN}.items():
        monkeypatch.setenv(name, value)
    config = small_config(tmp_path, tmp_path, "trainer.devices=2", "trainer.num_nodes=2")
    assert count_ranks(config) == 4
    assert not is_main_process()
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("SLURM_PROCID", "1")  # torchrun may give rank 0 to any node
    assert is_main_process()


def test_srun_without_torchrun_counts_its_tasks(monkeypatch, tmp_path) -> None:
    for name, value in SBATCH.items():
        monkeypatch.setenv(name, value)
    config = small_config(tmp_path, tmp_path, "trainer.devices=2")
    with pytest.raises(SettingsError, match=r"= 2 ranks, but SLURM_NTASKS is 1"):
        count_ranks(config)
