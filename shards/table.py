"""A table of the manifest, open for reading by rows."""

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from shards.errors import DatasetError
from shards.manifest import INFO_FILE
from shards.storage import Storage

_KEPT_ROW_GROUPS = 8


class ManifestTable:
    """A parquet file, checked when it is first read; the last row groups are kept: neighbours cost one read.

    It can be pickled: another process reads the file again.
    """

    def __init__(self, dataset: str, storage: Storage, name: str, sha256: str) -> None:
        self._dataset, self._storage, self._name, self._sha256 = dataset, storage, name, sha256
        self._group = lru_cache(_KEPT_ROW_GROUPS)(self._read_group)

    def __reduce__(self) -> Any:
        return ManifestTable, (self._dataset, self._storage, self._name, self._sha256)

    def read(self, columns: Sequence[str]) -> pa.Table:
        """Some columns of all rows."""
        return self._file.read(columns=list(columns), use_threads=False)

    def groups(self, columns: Sequence[str] | None = None) -> Iterator[pa.Table]:
        """Some columns, or all, a row group at a time."""
        for group in range(self._file.metadata.num_row_groups):
            yield self._read_group(group, columns)

    def rows(self, start: int, stop: int, columns: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Some columns of the rows [start, stop), or all."""
        first = int(np.searchsorted(self._bounds, start, side="right")) - 1
        last = int(np.searchsorted(self._bounds, stop, side="left"))
        rows: list[dict[str, Any]] = []
        for group in range(first, last):
            begin = int(self._bounds[group])
            part = slice(max(start - begin, 0), stop - begin)
            rows += self._group(group, None if columns is None else tuple(columns))[part].to_pylist()
        return rows

    def _read_group(self, group: int, columns: Sequence[str] | None) -> pa.Table:
        return self._file.read_row_group(group, columns=columns, use_threads=False)

    @cached_property
    def _file(self) -> pq.ParquetFile:
        data = self._storage.read(self._name)
        found = hashlib.sha256(data).hexdigest()
        if found != self._sha256:
            raise DatasetError(
                f"{self._dataset}/{self._name}: sha256 {found[:12]}…, expected {self._sha256[:12]}… as "
                f"{INFO_FILE} says. Copy the file again."
            )
        return pq.ParquetFile(pa.BufferReader(pa.py_buffer(data)))

    @cached_property
    def _bounds(self) -> np.ndarray:
        """The first row of each row group, and the number of all rows."""
        metadata = self._file.metadata
        return np.cumsum([0, *(metadata.row_group(group).num_rows for group in range(metadata.num_row_groups))])
