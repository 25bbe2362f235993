"""Checks of a dataset's episodes by a process for each core.

The build's engines run tasks that write files, and try again what was killed. A check gives back a few facts and
leaves nothing behind, so a process pool is enough.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from shards.errors import RocketError
from shards.reader import Dataset, open_dataset

Job = TypeVar("Job")
Result = TypeVar("Result")
_JOBS_PER_WORKER = 4

_worker: tuple[Callable[[Dataset, Any], Any], Dataset] | None = None


def check_each(
    check: Callable[[Dataset, Job], Result], dataset: Dataset, jobs: Sequence[Job], num_workers: int
) -> Iterator[Result]:
    """Yield what the check gives for each job, in order.

    Args:
        check: picklable, called with the dataset and a job.

    Raises:
        RocketError: a process dies.
    """
    num_workers = min(num_workers, len(jobs))
    if num_workers <= 1:
        yield from (check(dataset, job) for job in jobs)
        return
    # Forking a process that has threads (pyarrow's, for one) may hang.
    context = multiprocessing.get_context("spawn")
    chunk = max(1, min(16, len(jobs) // (num_workers * _JOBS_PER_WORKER)))
    with ProcessPoolExecutor(num_workers, context, _open, (check, dataset.path)) as pool:
        try:
            yield from pool.map(_check, jobs, chunksize=chunk)
        except BrokenProcessPool as error:
            raise RocketError(
                f"{dataset.path}: a process of the check died, perhaps for want of memory. Use fewer --workers."
            ) from error


def _open(check: Callable[[Dataset, Any], Any], path: str) -> None:
    global _worker  # noqa: PLW0603 (a process has one dataset)
    _worker = (check, open_dataset(path))


def _check(job: Any) -> Any:
    assert _worker is not None, "the initializer ran"
    check, dataset = _worker
    return check(dataset, job)
