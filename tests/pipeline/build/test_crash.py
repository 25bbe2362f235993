"""kill -9 at random moments: a build that goes on afterwards gives the bytes of one that was never disturbed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.pipeline.fake_ffmpeg import fake_ffmpeg
from tests.pipeline.recordings import TinyRecording, file_bytes, write_recording
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[3]
NUM_KILLS = 22


class BuildServer:
    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.pipeline.build_server"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            bufsize=1,
        )

    def start(self, source, out, workers=0, programs=None):
        path = f"{programs}{os.pathsep}" if programs else ""
        job = {"source": str(source), "out": str(out), "workers": workers, "path": path}
        self.process.stdin.write(json.dumps(job) + "\n")
        return int(self._answer("pid"))

    def wait(self):
        return int(self._answer("status"))

    def _answer(self, word):
        line = self.process.stdout.readline()
        assert line.startswith(word), line
        return line.split()[1]

    def close(self):
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()


@pytest.fixture(scope="module")
def server():
    server = BuildServer()
    yield server
    server.close()


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Six groups of one or two recordings; one of them is damaged, so that its group is begun twice."""
    folder = tmp_path_factory.mktemp("source")
    for number in range(6):
        recording = TinyRecording(number, 40 + 7 * number, alias=f"fox-{number}", noops=range(3, 3 + number))
        video = write_recording(folder, recording)
        if number == 3:
            write_recording(folder, recording.after(9, 30))
            data = bytearray(video.read_bytes())
            data[len(data) // 2 : len(data) // 2 + 50] = bytes(50)
            video.write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def undisturbed(server, source, tmp_path_factory):
    """The dataset's files, and how long the build took."""
    out = tmp_path_factory.mktemp("undisturbed") / "dataset"
    began = time.monotonic()
    server.start(source, out)
    assert server.wait() == 0
    return file_bytes(out), time.monotonic() - began


def descendants(pid):
    """Processes below this one, nearest first."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, IndexError):
                continue
            if parent == pid:
                found.append(int(entry.name))
    return found + [below for child in found for below in descendants(child)]


def command_of(pid):
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def assert_nothing_half_written(out, expected):
    """What has its final name is whole."""
    for name, data in file_bytes(out).items() if out.exists() else ():
        if not name.startswith(".build/") and not name.endswith(".tmp"):
            assert data == expected[name], name
    if (out / "dataset.json").exists():
        assert expected.keys() <= file_bytes(out).keys()


def assert_gone(pids):
    def running():
        return [pid for pid in pids if Path(f"/proc/{pid}/exe").exists() and command_of(pid)]

    wait_until(lambda: not running(), "the processes' end")


def test_build_killed_at_many_moments_ends_with_the_same_bytes(server, source, undisturbed, tmp_path):
    expected, seconds = undisturbed
    rng = random.Random(20211231)
    num_kills = num_finished = 0
    out = tmp_path / "dataset-0"
    for _ in range(10 * NUM_KILLS):
        if num_kills >= NUM_KILLS and num_finished:
            break
        pid = server.start(source, out)
        time.sleep(rng.uniform(0, 0.7 * seconds))
        children = descendants(pid)
        num_kills += kill(pid)
        status = server.wait()
        assert status in (0, -signal.SIGKILL)
        assert_gone(children)
        assert_nothing_half_written(out, expected)
        if rng.random() < 0.25:  # let it come to its end now and then
            server.start(source, out)
            assert server.wait() == 0
        if (out / "dataset.json").exists() and not (out / ".build").exists():
            assert file_bytes(out) == expected
            num_finished += 1
            out = tmp_path / f"dataset-{num_finished}"
    assert num_kills >= NUM_KILLS
    assert num_finished


def test_build_whose_ffmpeg_is_killed_tries_again_by_itself(server, source, undisturbed, tmp_path):
    died = tmp_path / "died"
    first_two = f"mkdir {died}-1 2> /dev/null || mkdir {died}-2 2> /dev/null"
    die_twice = f'if {first_two}; then head -c 9000 > /dev/null; kill -9 $$; fi; exec $real "$@"'
    server.start(source, tmp_path / "out", programs=fake_ffmpeg(tmp_path / "bin", die_twice))
    assert server.wait() == 0
    assert Path(f"{died}-2").exists()
    assert file_bytes(tmp_path / "out") == undisturbed[0]


def workers_of(pid):
    """The build's worker processes, when there is one at least."""

    def workers():
        return [child for child in descendants(pid) if "pipeline.build.engines.local" in command_of(child)]

    return wait_until(workers, "a worker")


def test_build_whose_worker_is_killed_gives_its_work_to_another(server, source, undisturbed, tmp_path):
    pid = server.start(source, tmp_path / "out", workers=1)
    [worker] = workers_of(pid)
    wait_until(lambda: list((tmp_path / "out" / ".build" / "work").glob("0*")), "a group's work")
    assert kill(worker)
    wait_until(lambda: set(workers_of(pid)) - {worker}, "another worker")
    assert server.wait() == 0
    assert file_bytes(tmp_path / "out") == undisturbed[0]


def test_build_that_is_killed_takes_workers_and_ffmpegs_along(server, source, undisturbed, tmp_path):
    out = tmp_path / "out"
    pid = server.start(source, out, workers=2)

    def with_an_encoder():
        assert command_of(pid), "the build ended before an ffmpeg was seen"
        below = descendants(pid)
        return below if any("libx264" in command_of(process) for process in below) else None

    below = wait_until(with_an_encoder, "an encoder")
    assert kill(pid)
    assert server.wait() == -signal.SIGKILL
    assert_gone(below)
    assert_nothing_half_written(out, undisturbed[0])
    server.start(source, out)
    assert server.wait() == 0
    assert file_bytes(out) == undisturbed[0]
