"""Slots that a GPU reads by itself: pinned memory, and batches that are still on their way."""

import logging
from collections import deque
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_log = logging.getLogger(__name__)


def pin(memory: Tensor) -> Callable[[], None]:
    """The GPU copies from this memory without the CPU; the returned function takes that back."""
    runtime = torch.cuda.cudart()  # type: ignore[no-untyped-call]
    error = int(runtime.cudaHostRegister(memory.data_ptr(), memory.nbytes, 0))
    if error:
        _log.warning(
            "The loader's %.0f MB cannot be pinned (CUDA error %d), so copies to the GPU are slower. "
            "Raise the limit of locked memory (ulimit -l).",
            memory.nbytes / 1e6,
            error,
        )
        return lambda: None

    def unpin() -> None:
        torch.cuda.synchronize()
        runtime.cudaHostUnregister(memory.data_ptr())

    return unpin


class InFlight:
    """Batches whose copies to the GPU were ordered and may not be finished: they are kept alive until they are."""

    def __init__(self) -> None:
        self._batches: deque[tuple[torch.cuda.Event, Any]] = deque()

    def hold(self, batch: Any) -> None:
        """The batch lives until all that was ordered on the GPU up to now is done; what has arrived is let go."""
        arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
        arrived.record()
        self._batches.append((arrived, batch))
        while self._batches[0][0].query():  # type: ignore[no-untyped-call]
            self._batches.popleft()
            if not self._batches:
                return
