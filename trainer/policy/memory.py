"""What a lane remembers between windows, and where it is kept: outside the model, by lane.

Memory is neither a parameter nor a buffer: DDP would broadcast it, an EMA would average it.
"""

# B lanes, M frames in memory, D width
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from shards.errors import RocketError
from trainer.collectives import gather_rows

Memory = list[Tensor]
"""For each layer: flags of the frames that count (B, 1, M) bool, keys (B, M, D), values (B, M, D)."""
TENSORS_PER_LAYER = 3


def initial_memory(
    batch_size: int,
    num_layers: int,
    mem_len: int,
    width: int,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> Memory:
    """Empty memory: no frame counts."""
    memory: Memory = []
    for _ in range(num_layers):
        memory.append(torch.zeros(batch_size, 1, mem_len, dtype=torch.bool, device=device))
        memory += [torch.zeros(batch_size, mem_len, width, dtype=dtype, device=device) for _ in range(2)]
    return memory


class LaneMemory:
    """The memories of this rank's lanes, a separate one for training and for validation.

    Use: `fetch` what the lanes remember, run the policy, `store` what it returned.
    """

    def __init__(self, initial_state: Callable[[int], Memory], lanes: Sequence[int]) -> None:
        """Start with empty memories of consecutive global lanes.

        `initial_state` (the policy's) gives that of a number of lanes, on the right device; called on first use.
        """
        assert list(lanes) == list(range(lanes[0], lanes[0] + len(lanes))), lanes
        self._initial_state = initial_state
        self.first_lane, self.num_lanes = lanes[0], len(lanes)
        self._memory: Memory | None = None

    def fetch(self, lane: Tensor, first: Tensor | None = None) -> Memory:
        """The memories of global lanes (B,), empty where `first` (B, T) says that the window starts an episode."""
        memory = self._current(lane.device)
        rows = self._rows(lane)
        fetched = [tensor.index_select(0, rows) for tensor in memory]
        if first is None:
            return fetched
        # The policy hides what is older than `first` by itself; zeros keep a bad number (NaN) from outliving
        # its episode.
        starts = first[:, 0].to(rows.device)[:, None, None]
        return [tensor.masked_fill(starts, 0) for tensor in fetched]

    def store(self, lane: Tensor, memory: Memory) -> None:
        """The lanes remember `memory` from now on, without its gradient."""
        rows = self._rows(lane)
        with torch.no_grad():
            for kept, new in zip(self._current(lane.device), memory, strict=True):
                kept.index_copy_(0, rows, new.detach().to(kept.dtype))

    def empty(self, lanes: Sequence[int]) -> None:
        """Those of the given lanes that are this rank's forget everything."""
        rows = [lane - self.first_lane for lane in lanes if 0 <= lane - self.first_lane < self.num_lanes]
        for tensor in self._memory or []:
            tensor[rows] = 0

    def reset(self) -> None:
        """All lanes forget everything."""
        self._memory = None

    def gather(self) -> dict[str, Any]:
        """All ranks' lanes and their memories on the CPU, in the order of the lanes; every rank must call it."""
        memory = self._memory if self._memory is not None else self._initial_state(self.num_lanes)
        device = self._initial_state(1)[0].device  # a memory that was loaded and never used is still on the CPU
        lanes = torch.arange(self.first_lane, self.first_lane + self.num_lanes)
        all_lanes = gather_rows(lanes, device)
        order = all_lanes.argsort()
        gathered = [gather_rows(tensor, device)[order].cpu() for tensor in memory]
        return {"lanes": all_lanes[order].cpu(), "memory": gathered}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """This rank's lanes take their memories from a state that may hold more lanes.

        Raises:
            RocketError: a lane of this rank is missing, or a tensor has another shape.
        """
        memory = self._initial_state(self.num_lanes)
        place = {int(lane): row for row, lane in enumerate(state["lanes"])}
        wanted = range(self.first_lane, self.first_lane + self.num_lanes)
        missing = [lane for lane in wanted if lane not in place]
        if missing:
            raise RocketError(
                f"checkpoint: no memory of lanes {missing[0]} to {missing[-1]}, got {len(place)} lanes. "
                "Continue with the same global batch (data.batch_size x ranks)."
            )
        rows = torch.tensor([place[lane] for lane in wanted])
        got, expected = ([tuple(tensor.shape[1:]) for tensor in each] for each in (state["memory"], memory))
        if got != expected:
            raise RocketError(
                f"checkpoint: memory of another policy, got {got[:3]} a lane in {len(got)} tensors, expected "
                f"{expected[:3]} in {len(expected)}. Keep policy.num_layers, policy.mem_len and policy.hiddim."
            )
        for kept, saved in zip(memory, state["memory"], strict=True):
            kept.copy_(saved[rows])
        self._memory = memory

    def _current(self, device: torch.device) -> Memory:
        if self._memory is None:
            self._memory = self._initial_state(self.num_lanes)
        if self._memory[0].device != device:
            self._memory = [tensor.to(device) for tensor in self._memory]
        return self._memory

    def _rows(self, lane: Tensor) -> Tensor:
        rows = lane - self.first_lane
        if lane.device.type == "cpu":  # elsewhere the check would wait for the device
            assert bool(((rows >= 0) & (rows < self.num_lanes)).all()), (lane, self.first_lane, self.num_lanes)
        return rows
