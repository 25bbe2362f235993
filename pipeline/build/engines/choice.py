"""The engine that a command line names."""

from __future__ import annotations

import os
from typing import Literal

from pipeline.build.engines import Engine
from pipeline.build.engines.local import LocalEngine


def choose_engine(name: Literal["local", "ray"], num_workers: int | None) -> Engine:
    """The engine of this name; without a number of workers, as many as there are cores to use."""
    if name == "ray":
        from pipeline.build.engines.ray_cluster import RayEngine

        return RayEngine(num_workers)
    return LocalEngine(num_workers or len(os.sched_getaffinity(0)))
