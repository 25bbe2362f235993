"""Remedies work: each refusal is provoked, and what its message recommends is done, as pasted into a shell."""

import io
import re
import shlex
import shutil
import subprocess
import tomllib
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from pipeline import cli as pipeline_cli
from shards.places import install_command
from tests.pipeline.recordings import TINY_WORDS, TinyRecording, write_recording, write_session
from trainer import cli as trainer_cli

ROOT = Path(__file__).resolve().parents[1]
DATA, RECORDINGS, EPISODE = "'shelf/my dataset'", "'my recordings'", "other-red-owl-f153ac423f61-20211231-235957"
BUILD = f"--workers 1 {' '.join(TINY_WORDS)}"
TRACKER = "tests.pipeline.segment.painted:ColourTracker"
OWN = '{"buttons": ["foward"], "camera": [0, 1]}\n'


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """Recordings and a dataset of them, in folders whose names need quotes; a build that stopped half way."""
    folder = tmp_path_factory.mktemp("world")
    write_session(folder / "my recordings")
    write_recording(folder / "unmasked", TinyRecording(5, 40, stem="own-20220101-101010"))
    shutil.copytree(folder / "unmasked", folder / "misspelt")
    (folder / "misspelt" / "own-20220101-101010.jsonl").write_text(OWN * 40)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        assert said(f"rocket-prep build-shards {RECORDINGS} --out {DATA} {BUILD}")[0] == 0
        assert said(f"rocket-prep build-shards {RECORDINGS} --out 'half built' --only 0/2 {BUILD}")[0] == 0
    shutil.copytree(folder / "shelf" / "my dataset", folder / "damaged one")
    with open(folder / "damaged one" / "000000.tar", "r+b") as file:
        file.seek(1700)
        file.write(b"damage")
    (folder / "part.yaml").write_text("base: demo\nseed: 3\n")
    (folder / "full").mkdir()
    (folder / "full" / "file").touch()
    return folder


@pytest.fixture
def here(world, tmp_path, monkeypatch):
    """The current folder is a copy of the world."""
    monkeypatch.chdir(shutil.copytree(world, tmp_path / "world"))


def said(line):
    """The exit status of a line as pasted into bash or zsh, and what it prints."""
    bare = re.sub(r"'[^']*'|\"[^\"]*\"", "", line)
    assert not re.search(r"[\[\]*?]", bare), f"zsh takes it for a pattern: {line}"
    words = shlex.split(line.replace("SOURCE", RECORDINGS))
    mains = {"rocket-prep": pipeline_cli.main, "rocket-train": trainer_cli.main}
    if words[0] not in mains:
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout + done.stderr
    out, err = io.StringIO(), io.StringIO()
    target = words[words.index(">") + 1] if ">" in words else None
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        mains[words[0]](words[1 : words.index(">") if target else None])
    if target:
        Path(target).write_text(out.getvalue())
    return ended.value.code or 0, out.getvalue() + err.getvalue()


PREVIEW = f"rocket-prep preview {DATA} --out a.png"
ROWS = [
    (f"rocket-prep inspect {RECORDINGS}", r"Build one from them: (.*)", "{0} --workers 1"),
    ("rocket-prep inspect 'shelf/my datset'", r"Did you mean (.*)\?", "rocket-prep inspect '{0}'"),
    ("rocket-prep inspect 'shelf/my dataset/000000.tar'", r"Use (.*)", "rocket-prep inspect {0}"),
    ("rocket-prep inspect shelf", r"but (.*) is one\. Use that", "rocket-prep inspect '{0}'"),
    ("rocket-prep inspect 'half built'", r"Go on with it: (.*)", f"{{0}} {BUILD}"),
    ("rocket-prep inspct x", r"Did you mean '(\w+)'", f"rocket-prep {{0}} {DATA}"),
    (f"rocket-prep build-shards {RECORDINGS} --out {DATA}", r"look at it: (.*)", "{0}"),
    (f"rocket-prep build-shards {RECORDINGS} --out x crff=18", r"you mean `(.*)`", "rocket-prep settings {0}=18"),
    (
        f"rocket-prep build-shards misspelt --out x {BUILD}",
        r"'foward' is no button, did you mean '(\w+)'",
        "sed -i s/foward/{0}/ misspelt/own-20220101-101010.jsonl && {given}",
    ),
    (
        f"rocket-prep segment unmasked --out x --tracker {TRACKER} 'mine.buttons=[atack]'",
        r"Did you mean (\w+)\?",
        "{given} 'mine.buttons=[{0}]'",
    ),
    ("rocket-prep make-sample full", r"run: (.*)", "{0} && {given} --sessions 1 --min-frames 20 --max-frames 30"),
    (f"{PREVIEW} --episode other-red-ow", r"Did you mean (\S+?)[ ?]", f"{PREVIEW} --episode {{0}}"),
    (f"{PREVIEW} --episode {EPISODE} --frames 9:999", r"Use (--frames \S+)\.", "{given} {0}"),
    (f"{PREVIEW} --lane 0 --steps 0:999", r"Use (--steps \S+)\.", "{given} {0}"),
    (f"{PREVIEW} --lane 2", r"Use (--lanes) for", "{given} {0} 3"),
    (f"rocket-prep plan {DATA} --lanes 2 --out 'a new'/a.png", r"Make it: (.*)", "{0} && {given}"),
    (f"rocket-prep plan {DATA} --lanes 6 --ranks 4", r"Use (\d+) ranks", "{given} --ranks {0}"),
    (f"rocket-prep plan {DATA} --lanes 4 --lane-groups 3", r"Use (\d+)\.", "{given} --lane-groups {0}"),
    (f"rocket-prep plan {DATA} --lanes 2 --split val", r"another (--split-ratio)", "{given} {0} 0.5"),
    (
        f"rocket-prep plan {DATA} --run part.yaml",
        r"Write all of them: (.*)",
        f"{{0}} && rocket-prep plan {DATA} --run run.yaml",
    ),
    ("rocket-prep verify 'damaged one' --workers 1", r"damaged again: (.*)", "{0} --workers 1"),
    (
        "rocket-prep preview unmasked --out a.png",
        r"or (\S+\.rle)",
        "cp 'my recordings'/tiny-blue-fox-f153ac423f61-20211231-235957.rle unmasked/{0} && {given}",
    ),
    ("rocket-train demo data.datset=x", r"did you mean `(.*)`", "rocket-train show demo {0}=x"),
    ("rocket-train show demmo", r"Did you mean (\w+)\?", "rocket-train show {0}"),
    ("rocket-train shwo demo", r"Did you mean '(\w+)'", "rocket-train {0} demo"),
    ("rocket-train show one-gpu data.batch_size=4", r"or set (\S+)\.", "{given} {0}"),
    (
        f"rocket-train demo data.datasets={RECORDINGS}",
        r"Build one from them: (rocket-prep build-shards)",
        "{0} --help",
    ),
]
"""A command that is refused, where its message says what to do, and that as commands joined by `&&`."""


@pytest.mark.parametrize(("given", "remedy", "then"), ROWS, ids=[f"{row[0]} -> {row[1]}" for row in ROWS])
@pytest.mark.usefixtures("here")
def test_remedy_works(given, remedy, then):
    status, text = said(given)
    assert status in (1, 2), text
    found = re.search(remedy, text)
    assert found is not None, text
    for line in then.format(*found.groups(), given=given).split(" && "):
        status, text = said(line)
        assert status == 0, f"{line}\n{text}"


@pytest.mark.parametrize("extra", ["lmdb", "ray", "s3", "segment"])
def test_command_that_installs_an_extra_names_one_of_this_project(extra):
    *_, option, target = shlex.split(install_command(extra))
    folder, _, name = target.rstrip("]").rpartition("[")
    project = tomllib.loads((Path(folder) / "pyproject.toml").read_text())["project"]
    assert (option, project["name"]) == ("-e", "rocket1")
    assert name in project["optional-dependencies"]
