"""Engines: the same bytes from each, work that is given again, failures that are told, nothing left running."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.build.engines.local import LocalEngine
from pipeline.build.engines.tasks import Outcome, TaskQueue
from pipeline.build.group import group_task
from pipeline.build.job import build_shards
from pipeline.build.plan import make_plan
from pipeline.progress import ProgressReport
from pipeline.sources import find_recordings
from shards.errors import RocketError
from tests.pipeline.fake_ffmpeg import fake_ffmpeg
from tests.pipeline.inline_engine import InlineEngine
from tests.pipeline.recordings import TINY, TinyRecording, file_bytes, write_recording
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def source(session):
    return session[0]


@pytest.fixture
def tasks(source, tmp_path):
    plan = make_plan(find_recordings([source]), TINY)
    return [group_task(group, TINY, tmp_path / "parts", tmp_path / "work") for group in plan.groups]


class Told(ProgressReport):
    """All that was told, and the tasks that are done."""

    def __init__(self):
        self.frames, self.notes, self.done = [], [], []

    def advance(self, count):
        self.frames.append(count)

    def note(self, message):
        self.notes.append(message)


def queue_of(tasks):
    told = Told()
    return TaskQueue(tasks, told, told.done.append), told


def test_queue_hands_out_the_longest_group_first(tasks):
    queue, _ = queue_of(tasks)
    assert [queue.next().num_frames for _ in tasks] == [118, 53]
    assert queue.next() is None


def test_queue_gives_killed_work_out_again_and_takes_its_frames_back(tasks):
    queue, told = queue_of(tasks[:1])
    task = queue.next()
    queue.report(task.index, 30)
    queue.settle(task, Outcome("it was killed. Run again with --resume.", killed=True))
    assert (told.frames, told.notes) == ([30, -30], ["group 0: it was killed. Trying again."])
    assert queue.next() is task
    queue.report(task.index, 53)
    queue.settle(task, Outcome())
    assert told.frames == [30, -30, 53]
    assert (told.done, queue.failures) == ([0], [])


def test_queue_gives_up_after_three_tries(tasks):
    queue, told = queue_of(tasks[:1])
    for _ in range(3):
        assert queue.failures == []
        queue.settle(queue.next(), Outcome("it was killed.", killed=True))
    assert (queue.failures, told.done, queue.next()) == (["it was killed."], [], None)


def test_queue_hands_out_nothing_after_a_failure_that_all_would_share(tasks):
    queue, _ = queue_of(tasks)
    queue.settle(queue.next(), Outcome("disk full", stop=True))
    assert (queue.failures, queue.next()) == (["disk full"], None)


def test_queue_goes_on_after_a_failure_of_one_group(tasks):
    queue, _ = queue_of(tasks)
    queue.settle(queue.next(), Outcome("odd"))
    assert queue.next() is not None


def test_engines_report_as_many_frames_as_there_are(tasks, tmp_path):
    (tmp_path / "parts").mkdir()
    queue, told = queue_of(tasks)
    InlineEngine().run(queue)
    assert (sum(told.frames), told.done) == (171, [1, 0])


def test_local_engine_ends_its_processes_when_it_is_interrupted(tasks, tmp_path):
    (tmp_path / "parts").mkdir()

    class Interrupted(ProgressReport):
        def advance(self, count):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LocalEngine(1).run(TaskQueue(tasks, Interrupted(), print))
    children = Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
    commands = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children if Path(f"/proc/{pid}").exists()]
    assert [command for command in commands if b"pipeline.build.engines.local" in command] == []


def test_workers_import_nothing_from_the_folder_where_the_user_is(source, tmp_path):
    """Files there that have names of standard modules or of ours break a build that imports them."""
    for name in ("random.py", "shards.py", "socket.py", "numpy.py"):
        (tmp_path / name).write_text("raise SystemExit('imported from the current folder')\n")
    prep = [sys.executable, "-P", "-c", "from rocket1 import prep; prep()"]
    words = [f"{key}={value}" for key, value in TINY.model_dump(exclude_none=True).items()]
    for command in (["build-shards", str(source), "--out", "out", *words], ["verify", "out"]):
        done = subprocess.run(
            [*prep, *command, "--workers", "2"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'configs' / 'start'}"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr


def build_with(encoder, source, tmp_path, monkeypatch, timeout_seconds=60.0):
    program = fake_ffmpeg(tmp_path / "bin", encoder) / "ffmpeg"
    monkeypatch.setattr("pipeline.transcode.encoding.ffmpeg_program", lambda: str(program))
    monkeypatch.setattr("pipeline.transcode.encoding.TIMEOUT_SECONDS", timeout_seconds)
    with pytest.raises(RocketError) as failure:
        build_shards([source], tmp_path / "out", TINY, InlineEngine())
    assert not list((tmp_path / "out" / ".build" / "work").glob("0*")), "work is left behind"
    monkeypatch.undo()
    # Nothing is lost: the real ffmpeg goes on.
    build_shards([source], tmp_path / "out", TINY, InlineEngine(), resume=True)
    return str(failure.value)


def test_an_ffmpeg_that_hangs_is_ended_and_named(source, tmp_path, monkeypatch):
    message = build_with("exec sleep 1000", source, tmp_path, monkeypatch, timeout_seconds=0.5)
    assert "ffmpeg took no frame for 0.5 s and was ended. Run again with --resume." in message


def test_an_ffmpeg_that_fails_tells_its_last_words(source, tmp_path, monkeypatch):
    message = build_with("echo unknown encoder >&2; exit 8", source, tmp_path, monkeypatch)
    assert "ffmpeg ended early with status 8: unknown encoder. Put another ffmpeg on PATH" in message


def test_an_ffmpeg_without_room_stops_the_build(source, tmp_path, monkeypatch):
    message = build_with("echo 'No space left on device' >&2; exit 1", source, tmp_path, monkeypatch)
    assert "the disk is full" in message
    assert "Make room, then run again with --resume." in message


def test_an_ffmpeg_that_writes_too_few_frames_is_found_out(source, tmp_path, monkeypatch):
    script = 'head -c 20000 | $real "$@" 2>/dev/null; cat > /dev/null; exit 0'
    message = build_with(script, source, tmp_path, monkeypatch)
    assert "holds 13 frames, expected 16. Put another ffmpeg on PATH" in message


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_one_line_and_no_lost_work(source, tmp_path, monkeypatch):
    real_open = open

    def full(path, *rest, **named):
        return real_open("/dev/full" if str(path).endswith("part.tar") else path, *rest, **named)

    monkeypatch.setattr("shards.writer.open", full, raising=False)
    with pytest.raises(RocketError, match=r"the disk is full\. Make room, then run again with --resume"):
        build_shards([source], tmp_path / "out", TINY, InlineEngine())
    monkeypatch.undo()
    build_shards([source], tmp_path / "out", TINY, InlineEngine(), resume=True)


def test_an_unwritable_folder_is_one_line(source, tmp_path):
    out = tmp_path / "locked" / "out"
    out.parent.mkdir()
    command = [sys.executable, "-m", "pipeline.cli", "build-shards", str(source), "--out", str(out)]
    out.parent.chmod(0o500)
    if os.access(out.parent, os.W_OK):  # root may write anywhere
        out.parent.rmdir()
        out.parent.write_text("a file")
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    finally:
        out.parent.chmod(0o700)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"error: {out.parent}: ")
    assert "Choose another --out." in done.stderr


def test_interrupting_a_build_ends_it_and_its_processes(source, tmp_path):
    programs = fake_ffmpeg(tmp_path / "bin", "exec sleep 1000")  # the build lasts until it is interrupted
    words = [f"{key}={value}" for key, value in TINY.model_dump(exclude_none=True).items()]
    process = subprocess.Popen(
        [
            *(sys.executable, "-m", "pipeline.cli", "build-shards", str(source), "--out", str(tmp_path / "out")),
            *("--workers", "1", *words),
        ],
        cwd=ROOT,
        env={**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background of a shell has them ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509
    )

    def at_work():
        assert process.poll() is None, process.communicate()
        return list((tmp_path / "out" / ".build").glob("work/0*"))

    wait_until(at_work, "a group's work")
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert errors.splitlines()[-1] == (
        f"error: {tmp_path / 'out'}: interrupted. Go on with the same command and --resume."
    )


def test_local_engine_gives_the_bytes_of_the_inline_engine(source, tmp_path):
    build_shards([source], tmp_path / "inline", TINY, InlineEngine())
    build_shards([source], tmp_path / "local", TINY, LocalEngine(3))
    assert file_bytes(tmp_path / "inline") == file_bytes(tmp_path / "local")


def test_ray_engine_without_ray_names_the_remedy(monkeypatch):
    from pipeline.build.engines.ray_cluster import RayEngine

    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(RocketError, match=r"-m pip install -e '?\S+\[ray\]"):
        RayEngine()


def test_single_recordings_are_groups_of_their_own(tmp_path):
    write_recording(tmp_path, TinyRecording(1, 8, stem="one"))
    write_recording(tmp_path, TinyRecording(2, 8, stem="two"))
    plan = make_plan(find_recordings([tmp_path]), TINY)
    assert [[planned.recording.name for planned in group.recordings] for group in plan.groups] == [
        ["one"],
        ["two"],
    ]
