"""The Ray engine on a real cluster of two nodes, one of which dies in the middle of a build."""

import os
import threading
from pathlib import Path

import pytest

from pipeline.build.job import build_shards
from tests.pipeline.fake_ffmpeg import fake_ffmpeg
from tests.pipeline.inline_engine import InlineEngine
from tests.pipeline.recordings import TINY, TinyRecording, file_bytes, write_recording
from tests.waiting import wait_until

ray = pytest.importorskip("ray", reason="the optional package ray is not installed")

pytestmark = [
    # Ray's own: sockets and log files that it leaves to the end of the process.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def hold(tmp_path):
    """While this file exists, encoders of the cluster wait."""
    return tmp_path / "hold"


@pytest.fixture
def cluster(monkeypatch, tmp_path, hold):
    """A head with one core and a node with one core, each with processes of its own."""
    from ray.cluster_utils import Cluster

    monkeypatch.setenv("RAY_DISABLE_IMPORT_WARNING", "1")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    programs = fake_ffmpeg(tmp_path / "bin", f'while [ -e {hold} ]; do sleep 0.05; done; exec $real "$@"')
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    memory = 80 << 20
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "object_store_memory": memory, "include_dashboard": False},
    )
    cluster.add_node(num_cpus=1, object_store_memory=memory)
    ray.init(
        cluster.address,
        log_to_driver=False,
        logging_level="error",
        runtime_env={"env_vars": {"PYTHONPATH": str(ROOT)}},
    )
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.mark.timeout(280)
def test_ray_engine_survives_a_dead_node_and_gives_the_same_bytes(cluster, hold, tmp_path):
    from pipeline.build.engines.ray_cluster import RayEngine

    source = tmp_path / "in"
    for number in range(4):
        write_recording(source, TinyRecording(number, 100, alias=f"fox-{number}"))
    build_shards([source], tmp_path / "inline", TINY, InlineEngine())

    hold.touch()
    notes = []
    work = tmp_path / "ray" / ".build" / "work"
    [doomed] = [node for node in cluster.list_all_nodes() if node != cluster.head_node]

    def kill_the_node():
        try:
            # Both nodes are at work, and can't end it, when there are two folders.
            wait_until(lambda: len(list(work.glob("0*"))) >= 2, "work on both nodes")
            cluster.remove_node(doomed, allow_graceful=False)
            # The node's worker lives a little longer: let go now, and it might still end its task.
            wait_until(lambda: notes, "a note of the dead node")
        finally:
            hold.unlink()

    class Listener:
        def start(self, title, total, unit):
            pass

        def advance(self, count):
            pass

        def note(self, message):
            notes.append(message)

    killer = threading.Thread(target=kill_the_node)
    killer.start()
    report = build_shards([source], tmp_path / "ray", TINY, RayEngine(), progress=Listener())
    killer.join()
    assert report.num_built == 4
    assert file_bytes(tmp_path / "ray") == file_bytes(tmp_path / "inline")
    assert any("a Ray worker or node died" in note and "Trying again" in note for note in notes), notes
    assert len(os.listdir(tmp_path / "ray")) == len(file_bytes(tmp_path / "inline"))
