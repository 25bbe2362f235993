import subprocess
import sys
import threading

import pytest

from shards.errors import DatasetError, RocketError
from shards.storage import remote
from shards.storage.remote import Retries
from tests.shards.servers import Nginx, free_port, http_server, wait_for
from tests.synthetic import make_dataset
from tests.trainer.batches import assert_same, make_module, plain, take


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    root = tmp_path_factory.mktemp("site")
    make_dataset(root / "dataset", [[60, 36, 40], [1, 90, 53], [35, 37, 70]])
    return root


@pytest.fixture(scope="module")
def reference(site):
    return take(make_module(site / "dataset"))


@pytest.fixture
def nginx(site, tmp_path):
    server = Nginx(site, tmp_path / "nginx")
    server.start()
    yield server
    server.kill()


def test_batches_from_nginx_are_those_of_the_folder(nginx, reference):
    module = make_module(f"{nginx.url}/dataset", num_workers=2)
    assert_same(take(module), reference)
    module.teardown()
    lines = [line for line in nginx.access_log.read_text().splitlines() if "GET" in line and ".tar" in line]
    assert lines
    assert all('" 206 ' in line for line in lines)


def test_nginx_that_is_killed_and_started_again_in_mid_epoch_costs_nothing(nginx, reference):
    module = make_module(f"{nginx.url}/dataset", num_workers=1, prefetch_factor=1)
    loader, found = module.train_dataloader(), []
    for step, batch in enumerate(loader):
        found.append(plain(batch))
        if step in (1, 5):
            nginx.kill()
            threading.Timer(1.0, nginx.start).start()
    module.teardown()
    assert_same(found, reference)


def test_batches_through_the_cache_are_the_same_and_later_epochs_ask_nothing(site, reference, tmp_path):
    with http_server(site) as (url, handler):
        module = make_module(f"{url}/dataset", num_workers=2, cache_dir=str(tmp_path / "cache"))
        assert_same(take(module), reference)
        asked = len(handler.requests)
        assert 3 <= asked <= 6  # a block holds a whole small shard; both processes may ask for each
        take(module)
        module.teardown()
        assert len(handler.requests) == asked


def test_flipped_byte_on_the_way_is_asked_for_again(site, reference):
    with http_server(site) as (url, handler):
        module = make_module(f"{url}/dataset")
        handler.faults[:] = ["flip"]
        assert_same(take(module), reference)
        assert module.damage.lost == []


def test_address_that_is_gone_for_good_stops_the_run_and_is_named(site, monkeypatch):
    monkeypatch.setattr(remote, "Retries", lambda: Retries(num_tries=3, first_delay_seconds=0.01))
    with http_server(site) as (url, handler):
        module = make_module(f"{url}/dataset")
        handler.faults[:] = ["500"] * 100
        with pytest.raises(
            RocketError,
            match=r"dataset/00000\d.tar: episode ep\d+, frames .* cannot be read: .*no answer after 3 tries .*500",
        ):
            take(module)


def test_missing_shard_at_an_address_is_named_before_the_first_step(tmp_path):
    make_dataset(tmp_path / "dataset", [[20], [20]])
    (tmp_path / "dataset" / "000001.tar").unlink()
    with (
        http_server(tmp_path) as (url, _),
        pytest.raises(DatasetError, match=rf"{url}/dataset/000001.tar: .*missing"),
    ):
        make_module(f"{url}/dataset")


@pytest.fixture
def s3(monkeypatch):
    """The address of an S3-compatible server on loopback, where s3:// leads for the time of the test."""
    pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    port = free_port()
    command = [sys.executable, "-c", "from moto.server import main; main()", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    try:
        wait_for(port)
        yield
    finally:
        server.kill()
        server.wait()


def test_batches_from_s3_are_those_of_the_folder(s3, site, reference):
    import fsspec

    files = fsspec.filesystem("s3")
    files.mkdir("bucket")
    files.put(str(site / "dataset"), "bucket/dataset", recursive=True)
    module = make_module("s3://bucket/dataset", num_workers=1)
    assert_same(take(module), reference)
    module.teardown()
