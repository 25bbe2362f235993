"""A clip's members, read from its shard by byte range and checked."""

from collections.abc import Collection, Mapping

from shards.clip import CORE_MEMBERS, checksum
from shards.manifest import ClipRow, shard_name
from shards.storage import Storage


def read_members(storage: Storage, shard: int, row: ClipRow, wanted: Collection[str]) -> dict[str, bytes]:
    """Some of a clip's members as bytes, checked; one range of the shard is read. The log only where it is wanted.

    Raises:
        ValueError: if the bytes are missing or changed.
        OSError: if the storage fails.
    """
    start, stop = row.core
    if "log" in wanted:
        stop = row.stop
    data = memoryview(storage.read_range(shard_name(shard), start, stop))
    if len(data) != stop - start:
        raise ValueError(f"{len(data)} bytes, expected {stop - start}")
    members = {
        name: data[offset - start : offset - start + size]
        for name, (offset, size) in row.members.items()
        if offset < stop
    }
    check_members(members, row)
    return {name: bytes(members[name]) for name in wanted}


def check_members(members: Mapping[str, bytes | memoryview], row: ClipRow) -> None:
    """The members are those that the row describes; a log is only checked where it is among them.

    Raises:
        ValueError: if a checksum is another.
    """
    found = [(checksum([members[name] for name in CORE_MEMBERS]), row.crc32)]
    if "log" in members:
        found.append((checksum([members["log"]]), row.log_crc32))
    for got, expected in found:
        if got != expected:
            raise ValueError(f"checksum {got:08x}, expected {expected:08x}")
