"""Datasets at addresses: byte ranges through fsspec, fetched ahead, tried again when the network fails."""

import logging
import random
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import fsspec

from shards.errors import RocketError, StorageError
from shards.places import install_command
from shards.storage.cache import BlockCache, CacheSettings

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

_NUM_THREADS = 4
_MAX_FETCHED_AHEAD = 16
_CONNECT_SECONDS, _SILENCE_SECONDS = 15, 30
_EXTRAS = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
_WORTH_ANOTHER_TRY = (408, 425, 429)


@dataclass(frozen=True)
class Retries:
    """How often and how patiently a failed request is made again."""

    num_tries: int = 8
    first_delay_seconds: float = 0.25
    max_delay_seconds: float = 16.0

    def delay_seconds(self, failed: int) -> float:
        """How long to wait after so many failures: twice as long each time, and not in step with other ranks."""
        delay = min(self.first_delay_seconds * 2.0 ** (failed - 1), self.max_delay_seconds)
        return delay * random.uniform(0.75, 1.25)


class RemoteStorage:
    """Files under an address."""

    def __init__(self, address: str, cache: CacheSettings | None = None, retries: Retries | None = None) -> None:
        self._address, self._cache_settings, self._retries = address, cache, retries or Retries()
        protocol = address.partition("://")[0]
        try:
            self._files, self._root = fsspec.core.url_to_fs(address, **_options(protocol))
        except ImportError as error:
            extra = _EXTRAS.get(protocol)
            remedy = f"Run: {install_command(extra)}" if extra else f"Install what fsspec asks for: {error}"
            raise RocketError(f"{address}: no package for {protocol}:// is installed. {remedy}") from error
        except ValueError as error:
            raise RocketError(
                f"{address}: not an address that can be read ({error}). Use a folder, https://, s3:// or gs://."
            ) from error
        self._cache = BlockCache(address, cache) if cache else None
        self._threads = ThreadPoolExecutor(_NUM_THREADS, thread_name_prefix="fetch")
        self._ahead: dict[tuple[str, int, int], Future[bytes]] = {}

    def read(self, name: str) -> bytes:
        data: bytes = self._try(name, lambda: self._files.cat_file(self._path(name)))
        return data

    def read_range(self, name: str, start: int, stop: int) -> bytes:
        future = self._ahead.pop((name, start, stop), None)
        return future.result() if future is not None else self._get(name, start, stop)

    def size(self, name: str) -> int | None:
        try:
            return int(self._try(name, lambda: self._files.size(self._path(name))))
        except FileNotFoundError:
            return None

    def prefetch(self, name: str, start: int, stop: int) -> None:
        key = (name, start, stop)
        if key not in self._ahead and len(self._ahead) < _MAX_FETCHED_AHEAD:
            self._ahead[key] = self._threads.submit(self._get, *key)

    def forget(self, name: str, start: int, stop: int) -> bool:
        self._ahead.pop((name, start, stop), None)
        if self._cache is not None:
            self._cache.forget(name, start, stop)
        return True

    def __reduce__(self) -> Any:
        return RemoteStorage, (self._address, self._cache_settings, self._retries)

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def _get(self, name: str, start: int, stop: int) -> bytes:
        def fetch(begin: int, end: int) -> bytes:
            return self._try(name, lambda: self._fetch(name, begin, end))

        return fetch(start, stop) if self._cache is None else self._cache.read(name, start, stop, fetch)

    def _fetch(self, name: str, start: int, stop: int) -> bytes:
        try:
            data: bytes = self._files.cat_file(self._path(name), start=start, end=stop)
        except Exception as error:
            if getattr(error, "status", None) == 416:  # HTTP: nothing lies in that range
                return b""
            raise
        if len(data) > stop - start:
            raise StorageError(
                f"{self._address}/{name}: the server sends whole files, got {len(data)} bytes, expected "
                f"{stop - start}. Use a server that supports range requests."
            )
        return data

    def _try(self, name: str, request: Callable[[], _Result]) -> _Result:
        """What the request gives, after as many tries as it needs and the settings allow."""
        started = time.monotonic()
        for failed in range(1, self._retries.num_tries + 1):
            try:
                return request()
            except Exception as error:
                if isinstance(error, StorageError | FileNotFoundError):
                    raise
                if not _may_pass(error):
                    raise StorageError(
                        f"{self._address}/{name}: it may not be read ({_describe(error)}). Check the address and "
                        "your rights to it."
                    ) from error
                if failed == self._retries.num_tries:
                    raise StorageError(
                        f"{self._address}/{name}: no answer after {failed} tries in "
                        f"{time.monotonic() - started:.0f} seconds ({_describe(error)}). Check the connection and "
                        "the server, then go on with --resume auto."
                    ) from error
                delay = self._retries.delay_seconds(failed)
                _log.warning(
                    "%s/%s: %s; try %d of %d in %.1f s",
                    self._address,
                    name,
                    _describe(error),
                    failed + 1,
                    self._retries.num_tries,
                    delay,
                )
                time.sleep(delay)
        raise AssertionError("one try at least")


def _may_pass(error: Exception) -> bool:
    """Whether another try can help."""
    if isinstance(error, PermissionError | NotImplementedError | TypeError):
        return False
    status = getattr(error, "status", None)
    return not (isinstance(status, int) and 400 <= status < 500 and status not in _WORTH_ANOTHER_TRY)


def _describe(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__


def _options(protocol: str) -> dict[str, Any]:
    """Settings that make a silent connection fail instead of hanging for minutes; the tries are ours to count."""
    if protocol in {"http", "https"}:
        import aiohttp

        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS, sock_read=_SILENCE_SECONDS)
        return {"client_kwargs": {"timeout": timeout}}
    if protocol in {"s3", "s3a"}:
        config = {
            "connect_timeout": _CONNECT_SECONDS,
            "read_timeout": _SILENCE_SECONDS,
            "retries": {"total_max_attempts": 1},  # s3fs tries a few times itself, and we do
        }
        return {"config_kwargs": config}
    return {}
