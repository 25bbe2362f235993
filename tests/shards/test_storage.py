import os
import pickle
from pathlib import Path

import pytest

from shards.errors import DatasetError, RocketError, StorageError
from shards.reader import open_dataset
from shards.storage import CacheSettings, LocalStorage, open_storage, remote
from shards.storage.cache import BLOCK_BYTES, BlockCache
from shards.storage.remote import RemoteStorage, Retries
from tests.shards.servers import http_server

QUICK = Retries(num_tries=4, first_delay_seconds=0.01)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.tar").write_bytes(bytes(range(256)) * 40)
    return tmp_path / "files"


@pytest.fixture
def site(folder):
    with http_server(folder) as (url, handler):
        yield RemoteStorage(url, retries=QUICK), handler


CONTENT = bytes(range(256)) * 40


@pytest.mark.parametrize("kind", ["folder", "address"])
def test_storage_reads_whole_files_ranges_and_sizes(folder, site, kind):
    storage = LocalStorage(folder) if kind == "folder" else site[0]
    assert storage.read("a.tar") == CONTENT
    assert storage.read_range("a.tar", 100, 300) == CONTENT[100:300]
    assert storage.read_range("a.tar", 10_200, 10_300) == CONTENT[10_200:]
    assert storage.read_range("a.tar", 20_000, 20_100) == b""
    assert storage.size("a.tar") == len(CONTENT)
    assert storage.size("b.tar") is None
    with pytest.raises(FileNotFoundError):
        storage.read("b.tar")


@pytest.mark.parametrize("kind", ["folder", "address"])
def test_storage_reads_on_in_another_process(folder, site, kind):
    storage = pickle.loads(pickle.dumps(LocalStorage(folder) if kind == "folder" else site[0]))
    assert storage.read_range("a.tar", 5, 9) == CONTENT[5:9]


def test_folder_keeps_no_file_open(folder):
    storage = LocalStorage(folder)
    before = len(os.listdir("/proc/self/fd"))
    storage.read_range("a.tar", 0, 5)
    storage.prefetch("a.tar", 0, 5)
    assert len(os.listdir("/proc/self/fd")) == before


def test_prefetched_range_is_asked_for_once(site):
    storage, handler = site
    storage.prefetch("a.tar", 10, 20)
    storage.prefetch("a.tar", 10, 20)
    assert storage.read_range("a.tar", 10, 20) == CONTENT[10:20]
    assert handler.requests == ["bytes=10-19"]
    assert storage.read_range("a.tar", 10, 20) == CONTENT[10:20]
    assert len(handler.requests) == 2


@pytest.mark.parametrize("faults", [["close"], ["500", "503"], ["cut", "429", "close"]])
def test_failed_request_is_made_again(site, faults, caplog):
    storage, handler = site
    handler.faults[:] = faults
    assert storage.read_range("a.tar", 0, 50) == CONTENT[:50]
    assert len(handler.requests) == len(faults) + 1
    if "close" not in faults:  # the HTTP library itself asks again when a kept connection is closed
        assert f"try {len(faults) + 1} of 4" in caplog.text


def test_server_that_says_nothing_is_asked_again(folder, monkeypatch, caplog):
    monkeypatch.setattr(remote, "_SILENCE_SECONDS", 0.2)
    with http_server(folder) as (url, handler):
        handler.faults[:] = ["silent"]
        assert RemoteStorage(url, retries=QUICK).read_range("a.tar", 0, 50) == CONTENT[:50]
    assert "Timeout" in caplog.text


def test_address_that_gives_no_answer_is_named_with_the_number_of_tries(site):
    storage, handler = site
    handler.faults[:] = ["503"] * 9
    with pytest.raises(StorageError, match=r"http://127.0.0.1:\d+/a.tar: no answer after 4 tries .*503"):
        storage.read_range("a.tar", 0, 50)
    assert len(handler.requests) == 4


def test_request_that_is_refused_is_not_made_again(site):
    storage, handler = site
    handler.faults[:] = ["403"]
    with pytest.raises(StorageError, match=r"a.tar: it may not be read \(ClientResponseError: 403.*your rights"):
        storage.read_range("a.tar", 0, 50)
    assert len(handler.requests) == 1


def test_delays_double_and_are_bounded():
    retries = Retries(num_tries=8, first_delay_seconds=1, max_delay_seconds=8)
    for failed, expected in enumerate([1, 2, 4, 8, 8, 8], start=1):
        assert 0.75 * expected <= retries.delay_seconds(failed) <= 1.25 * expected


def test_server_without_ranges_is_named(folder):
    with http_server(folder, ranges=False) as (url, _):
        storage = RemoteStorage(url, retries=QUICK)
        with pytest.raises(
            StorageError, match=r"a.tar: the server sends whole files, got 10240 bytes, expected 50"
        ):
            storage.read_range("a.tar", 0, 50)


def test_unknown_address_is_refused():
    with pytest.raises(
        RocketError, match=r"nonsense://x: not an address that can be read .*Use a folder, https://"
    ):
        open_storage("nonsense://x")


def test_dataset_at_an_address_is_the_dataset_in_the_folder(small_dataset):
    with http_server(small_dataset) as (url, _):
        remote, local = open_dataset(url), open_dataset(small_dataset)
        assert remote.info == local.info
        remote.check_shards(range(3))
        for episode in range(7):
            for row in local.clip_rows(episode):
                assert remote.read_clip(episode, row).members() == local.read_clip(episode, row).members()


def test_address_without_a_dataset_is_named(tmp_path):
    with http_server(tmp_path) as (url, _), pytest.raises(DatasetError, match=rf"{url}: no dataset.json"):
        open_dataset(url)


# ---------------------------------------------------------------------------------------------------- the cache


class Source:
    """A file of 5 blocks that counts how often each is fetched."""

    def __init__(self) -> None:
        self.content = os.urandom(1 << 16) * (BLOCK_BYTES * 5 >> 16)
        self.fetched: list[int] = []

    def fetch(self, start: int, stop: int) -> bytes:
        self.fetched.append(start // BLOCK_BYTES)
        return self.content[start:stop]


def stored_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.glob("*/*"))


def test_cache_gives_what_the_source_has_and_asks_once(tmp_path):
    source, cache = Source(), BlockCache("s3://x", CacheSettings(str(tmp_path), 10**9))
    ranges = [(0, 10), (BLOCK_BYTES - 5, BLOCK_BYTES + 5), (3 * BLOCK_BYTES - 1, 5 * BLOCK_BYTES), (7, 9)]
    for start, stop in ranges * 2:
        assert cache.read("a.tar", start, stop, source.fetch) == source.content[start:stop]
    assert source.fetched == [0, 1, 2, 3, 4]
    other = BlockCache("s3://x", CacheSettings(str(tmp_path), 10**9))  # another process
    assert other.read("a.tar", 5, 99, source.fetch) == source.content[5:99]
    assert len(source.fetched) == 5


def test_cache_stays_under_its_limit_and_drops_what_was_used_longest_ago(tmp_path):
    source, cache = Source(), BlockCache("s3://x", CacheSettings(str(tmp_path), 4 * BLOCK_BYTES))
    for name in ("a", "b", "c", "d", "e"):
        cache.read(name, 0, 10, source.fetch)
        cache.read("a", 0, 10, source.fetch)
        assert stored_bytes(tmp_path) <= 4 * BLOCK_BYTES
    fetched = len(source.fetched)
    cache.read("a", 0, 10, source.fetch)
    assert len(source.fetched) == fetched
    cache.read("b", 0, 10, source.fetch)
    assert len(source.fetched) == fetched + 1


def test_cache_of_a_rebuilt_dataset_is_another(tmp_path):
    source = Source()
    for fingerprint in ("old", "new"):
        settings = CacheSettings(str(tmp_path), 10**9, {"s3://x": fingerprint})
        BlockCache("s3://x", settings).read("a", 0, 10, source.fetch)
    assert source.fetched == [0, 0]


def test_cache_that_cannot_be_written_is_done_without(tmp_path, caplog):
    (tmp_path / "cache").write_text("a file, where a folder should be")
    source, cache = Source(), BlockCache("s3://x", CacheSettings(str(tmp_path / "cache"), 10**9))
    for _ in range(2):
        assert cache.read("a", 3, 10, source.fetch) == source.content[3:10]
    assert caplog.text.count("the cache cannot be written") == 1


def test_cache_forgets_a_range(tmp_path):
    source, cache = Source(), BlockCache("s3://x", CacheSettings(str(tmp_path), 10**9))
    cache.read("a", 0, 2 * BLOCK_BYTES, source.fetch)
    cache.forget("a", 5, 10)
    cache.read("a", 0, 2 * BLOCK_BYTES, source.fetch)
    assert source.fetched == [0, 1, 0]
