"""Which tracker a command line names, and who works with it."""

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from pipeline.build.engines.local import WORKER_SLOT, LocalEngine
from pipeline.build.engines.ray_cluster import RayEngine
from pipeline.build.engines.tasks import Engine
from pipeline.segment import sam2
from pipeline.segment.tracker import Tracker
from shards.errors import RocketError

SAM2 = "pipeline.segment.sam2:Sam2Tracker"
"""The tracker that is used unless another one is named."""


@dataclass(frozen=True)
class TrackerChoice:
    """Which tracker to use; small and picklable, so that each worker loads its own.

    Attributes:
        factory: `package.module:name` of what is called with (model, device) and returns a `Tracker`.
        model: folder or name of the model, as the factory takes it.
        device: cpu or cuda.
        revision: of the model.
        title: what mask files call the model.
    """

    factory: str
    model: str
    device: str
    revision: str = ""
    title: str = ""


def choose_tracker(factory: str | None, model: str | None, device: str | None) -> TrackerChoice:
    """The tracker that a command line names, SAM-2 without a name, its model on this disk.

    Raises:
        RocketError: it cannot be found, or the device is not there.
    """
    if factory is not None:
        _find(factory)
        return TrackerChoice(factory, model or "", device or "cpu", title=model or factory)
    chosen = sam2.choose_device(device)
    folder, title, revision = sam2.find_model(model or sam2.DEFAULT_MODEL)
    return TrackerChoice(SAM2, folder, chosen, revision, title)


@lru_cache(maxsize=1)
def load_tracker(choice: TrackerChoice) -> Tracker:
    """The tracker, loaded once in a process; on the GPU of this worker's number.

    Raises:
        RocketError: it cannot be loaded.
    """
    device = choice.device
    if device == "cuda":
        slot = int(os.environ.get(WORKER_SLOT, "0"))
        device = f"cuda:{slot % sam2.num_gpus()}"
    return _find(choice.factory)(choice.model, device)


def choose_engine(name: Literal["local", "ray"], num_workers: int | None, choice: TrackerChoice) -> Engine:
    """The engine of this name; without a number, with a worker for each GPU, or each core without one."""
    needs_gpu = choice.device == "cuda"
    if name == "ray":
        return RayEngine(num_workers, gpus_per_task=int(needs_gpu))
    if needs_gpu and num_workers is None:
        num_workers = sam2.num_gpus()
    return LocalEngine(num_workers)


def _find(factory: str) -> Callable[[str, str], Tracker]:
    module, _, name = factory.partition(":")
    try:
        found: Callable[[str, str], Tracker] = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise RocketError(
            f"--tracker: {factory!r} cannot be loaded, got {error}, expected package.module:name of what "
            "returns a tracker. Check its spelling and that it is on PYTHONPATH."
        ) from error
    return found
