"""Columns of parquet tables, from the fields of the records that are their rows."""

from dataclasses import is_dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pyarrow as pa

Int8 = Annotated[int, pa.int8()]
Int32 = Annotated[int, pa.int32()]
Int64 = Annotated[int, pa.int64()]
UInt32 = Annotated[int, pa.uint32()]


def columns_of(record: type) -> list[tuple[str, pa.DataType]]:
    """Name and type of the column of each field of a dataclass, in order."""
    return [(name, _column(kind)) for name, kind in get_type_hints(record, include_extras=True).items()]


def _column(kind: Any) -> pa.DataType:
    if isinstance(kind, type) and is_dataclass(kind):
        return pa.struct(columns_of(kind))
    if get_origin(kind) is Annotated:
        return get_args(kind)[1]
    if get_args(kind):  # a sequence of one kind
        return pa.list_(_column(get_args(kind)[0]))
    return {str: pa.string(), bool: pa.bool_()}[kind]
