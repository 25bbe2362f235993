"""Checks of a dataset's episodes by a process for each core.

The build's engines run tasks that write files, and try again what was killed. A check gives back a few facts and
leaves nothing behind, so a process pool is enough.
"""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache, partial
from typing import TypeVar

from shards.errors import RocketError
from shards.reader import Dataset, open_dataset

Job = TypeVar("Job")
Result = TypeVar("Result")


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
    with ProcessPoolExecutor(num_workers, context) as pool:
        try:
            yield from pool.map(partial(_check, check, dataset.path), jobs)
        except BrokenProcessPool as error:
            raise RocketError(
                f"{dataset.path}: a process of the check died: perhaps memory ran out. Use fewer --workers."
            ) from error


def _check(check: Callable[[Dataset, Job], Result], path: str, job: Job) -> Result:
    return check(_open_once(path), job)


_open_once = lru_cache(maxsize=1)(open_dataset)  # in each process
