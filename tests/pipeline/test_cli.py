"""rocket-prep's commands for building: what they print, where, and how they end."""

import pytest

from pipeline import cli
from shards.reader import open_dataset
from tests.pipeline.recordings import TINY_WORDS, TinyRecording, write_recording, write_session


@pytest.fixture
def run(capsys):
    """Runs a command in this process; gives its exit status, stdout and stderr."""

    def run(*words):
        with pytest.raises(SystemExit) as ending:
            cli.main([str(word) for word in words])
        captured = capsys.readouterr()
        return ending.value.code, captured.out, captured.err

    return run


def test_build_shards_prints_what_it_wrote_and_the_next_command(run, tmp_path):
    write_session(tmp_path / "in")
    out = tmp_path / "out"
    status, printed, progress = run("build-shards", tmp_path / "in", "--out", out, "--workers", 2, *TINY_WORDS)
    lines = printed.splitlines()
    assert status == 0
    assert lines[0].startswith(
        f"{out}: 2 episodes of 4 recordings, 163 frames (8.2 s), 3 interactions, in 2 shards, "
    )
    assert lines[1] == "Of 171 source frames 163 were kept, 8 dropped as no-ops and 0 left out."
    assert lines[2] == "Left out or used in part: missing_masks 2 (0 frames)."
    assert lines[-2:] == [
        f"Look at it: rocket-prep inspect {out}",
        f"Train on it: rocket-train rocket1 data.datasets={out}",
    ]
    assert "building: 171 frames in" in progress
    assert len(open_dataset(out).episodes) == 2


def test_build_shards_by_shares_says_how_to_join_them(run, tmp_path):
    write_session(tmp_path / "in")
    words = ("build-shards", tmp_path / "in", "--out", tmp_path / "out", "--workers", 1, *TINY_WORDS)
    status, printed, _ = run(*words, "--only", "0/2")
    assert status == 0
    assert printed.splitlines() == [
        f"{tmp_path / 'out'}: 1 of 2 groups built now.",
        "When all shares are built, join them: the same command without --only, with --resume.",
    ]


def test_build_shards_takes_settings_from_a_file_and_from_words(run, tmp_path):
    write_recording(tmp_path / "in", TinyRecording(1, 20))
    (tmp_path / "a.yaml").write_text("\n".join(word.replace("=", ": ") for word in TINY_WORDS) + "\ncrf: 20\n")
    out = tmp_path / "out"
    status, _, _ = run(
        "build-shards", tmp_path / "in", "--out", out, "--config", tmp_path / "a.yaml", "crf=21", "--workers", 1
    )
    assert status == 0
    assert open_dataset(out).info.settings["crf"] == 21.0
    assert open_dataset(out).info.settings["clip_frames"] == 16


def test_a_source_with_an_equals_sign_is_a_source(run, tmp_path, monkeypatch):
    write_recording(tmp_path / "day=3", TinyRecording(1, 20))
    monkeypatch.chdir(tmp_path)
    assert run("build-shards", "day=3", "--out", "out", "--workers", 1, *TINY_WORDS)[0] == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["IN", "--out", "OUT", "colour=red"], "error: settings: unknown setting `colour`. See --help for all."),
        (["IN/none", "--out", "OUT"], "no such file or folder"),
        (["IN", "--out", "IN"], "not empty, got"),
        (
            ["IN", "--out", "OUT", "--config", "none.yaml"],
            "none.yaml: cannot be read, got No such file or directory",
        ),
        (["EMPTY", "--out", "OUT"], "nothing to build, got no recording"),
    ],
)
def test_known_errors_are_one_line_with_status_1_and_leave_nothing(run, tmp_path, words, message):
    write_recording(tmp_path / "in", TinyRecording(1, 20))
    (tmp_path / "empty").mkdir()
    places = {"IN": tmp_path / "in", "OUT": tmp_path / "out", "EMPTY": tmp_path / "empty"}
    words = [str(places.get(w.split("/")[0], w)) + "".join(f"/{part}" for part in w.split("/")[1:]) for w in words]
    before = sorted(tmp_path.rglob("*"))
    status, printed, errors = run("build-shards", *words)
    assert status == 1
    assert printed == ""
    [line] = [line for line in errors.splitlines() if line.startswith("error: ")]
    assert message in line
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["IN"], "--out"),
        (["--out", "OUT"], "SOURCE"),
        (["crf=18", "--out", "OUT"], "no SOURCE among the arguments"),
        (["IN", "--out", "OUT", "--only", "4/4"], "expected I/N with I from 0 to N - 1"),
        (["IN", "--out", "OUT", "--only", "one"], "expected I/N with I from 0 to N - 1"),
        (["IN", "--out", "OUT", "--engine", "spark"], "spark"),
        (["IN", "--out", "OUT", "--workers", "0"], "workers"),
    ],
)
def test_misuse_ends_with_status_2_and_leaves_nothing(run, tmp_path, words, message):
    places = {"IN": tmp_path / "in", "OUT": tmp_path / "out"}
    status, _, errors = run("build-shards", *(places.get(word, word) for word in words))
    assert status == 2
    assert message in " ".join(errors.split())
    assert not (tmp_path / "out").exists()


def test_make_sample_says_what_it_wrote_and_the_next_command(run, tmp_path):
    out = tmp_path / "sample"
    status, printed, _ = run("make-sample", out, "--sessions", 1, "--min-frames", 60, "--max-frames", 90)
    assert status == 0
    assert printed.splitlines()[-1] == f"Build shards from them: rocket-prep build-shards {out} --out DATASET"
    status, _, errors = run("make-sample", out)
    assert (status, errors.startswith(f"error: {out}: ")) == (1, True)
