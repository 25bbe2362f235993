"""Places: addresses are refused where only a folder can be written, and what is no dataset is told what it is."""

import re
import shlex
from pathlib import Path

import pytest

from pipeline.cli import main as prep
from shards.errors import DatasetError, RocketError
from shards.places import on_this_machine
from shards.reader import open_dataset, read_info


@pytest.mark.parametrize("place", ["runs/a", "/data/x", "a:b", "C:/runs", Path("out"), None])
def test_paths_of_this_machine_stay_as_they_are(place):
    assert on_this_machine(place) == place


@pytest.mark.parametrize("place", ["s3://bucket/run", Path("s3://bucket/run"), "gs://b", "https://host/x"])
def test_addresses_are_refused_by_name(place):
    scheme = str(place).partition(":")[0]
    with pytest.raises(RocketError, match=rf"^{scheme}://.*: an address of {scheme}, but .*Give a local path"):
        on_this_machine(place)


@pytest.mark.parametrize(
    "words",
    [
        ["make-sample", "s3://bucket/x"],
        ["build-shards", "SOURCE", "--out", "s3://bucket/x"],
        ["report", "DATASET", "--out", "s3://bucket/x"],
        ["plan", "DATASET", "--out", "s3://bucket/x"],
        ["preview", "DATASET", "--episode", "ep000", "--out", "s3://bucket/x"],
    ],
    ids=lambda words: words[0],
)
def test_commands_refuse_an_address_before_any_work(words, small_dataset, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        prep([str(small_dataset) if word == "DATASET" else word for word in words])
    assert ended.value.code == 1
    assert capsys.readouterr().err.startswith("error: s3://bucket/x: an address of s3, but ")
    assert list(tmp_path.iterdir()) == []


def refusal(path):
    """What opening it says; reading its description alone says the same."""
    with pytest.raises(DatasetError) as refused:
        open_dataset(path)
    with pytest.raises(DatasetError, match=re.escape(str(refused.value))):
        read_info(str(path))
    return str(refused.value)


def test_recordings_given_as_a_dataset_are_told_with_the_command_that_builds_one(tmp_path):
    (tmp_path / "my recordings").mkdir()
    (tmp_path / "my recordings" / "a.mp4").write_bytes(b"")
    place = shlex.quote(str(tmp_path / "my recordings"))
    assert refusal(tmp_path / "my recordings").endswith(
        "recordings, expected a dataset. Build one from them: rocket-prep build-shards "
        f"{place} --out {shlex.quote(str(tmp_path / 'my recordings-shards'))}"
    )


def test_mistyped_path_is_told_with_the_nearest(small_dataset):
    message = refusal(small_dataset.with_name("datset"))
    assert message.endswith(f"no such folder, expected a dataset. Did you mean {small_dataset}?")
    meant = re.search(r"Did you mean (\S+)\?", message)
    assert meant is not None
    assert len(open_dataset(meant[1]).episodes) == 7


def test_shard_given_as_a_dataset_is_told_with_its_folder(small_dataset):
    message = refusal(small_dataset / "000000.tar")
    assert message.endswith(f"a file of a dataset, expected its folder. Use {small_dataset}")


def test_folder_around_a_dataset_is_told_with_the_dataset(small_dataset):
    assert f"but {small_dataset} is one" in refusal(small_dataset.parent)


def test_unfinished_build_is_told_with_resume(tmp_path):
    (tmp_path / ".build").mkdir()
    assert refusal(tmp_path).endswith(
        f"its build did not finish. Go on with it: rocket-prep build-shards SOURCE --out {tmp_path} --resume"
    )


def test_file_that_is_no_shard_is_told(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"")
    assert "a file, expected a dataset's folder. Build one: rocket-prep" in refusal(tmp_path / "a.mp4")
