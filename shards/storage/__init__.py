"""Reading a dataset's files whole or by byte range, from a folder or from any address that fsspec knows."""

from pathlib import Path

from shards.storage.cache import CacheSettings
from shards.storage.local import LocalStorage, Storage

__all__ = ["CacheSettings", "LocalStorage", "Storage", "open_storage"]


def open_storage(path: str, cache: CacheSettings | None = None) -> Storage:
    """The storage at a folder or an address such as https://host/dataset or s3://bucket/dataset.

    Args:
        cache: where to keep copies of what is read from an address; folders need none.

    Raises:
        RocketError: if the address needs a package that is not installed.
    """
    if "://" not in path:
        return LocalStorage(Path(path))
    from shards.storage.remote import RemoteStorage

    return RemoteStorage(path, cache)
