"""The plan of a run's lanes, as text, as JSON and as a picture."""

import json

import pytest
from PIL import Image

from pipeline.look.charts import save_lanes
from pipeline.look.lane_plan import RunLanes, lanes_of_run, plan_lanes
from pipeline.look.lane_plan_text import plan_lines
from shards import RocketError
from shards.schedule.collection import open_collection
from shards.schedule.settings import ScheduleSettings
from tests.synthetic import make_dataset

LENGTHS = [40, 16, 1, 70, 33, 15, 17]


@pytest.fixture(scope="module")
def dataset(small_dataset):
    return open_collection([str(small_dataset)])


def _settings(num_lanes, num_ranks, **more):
    return ScheduleSettings(num_lanes=num_lanes, num_groups=num_ranks, window_frames=16, **more)


def test_plan_counts_every_window_once(dataset):
    plan = plan_lanes(dataset, _settings(4, 2), 2)
    record = plan.to_json()
    windows = sum(-(-length // 16) for length in LENGTHS)
    assert record["windows"] == windows
    assert record["padding_windows"] == 4 * record["steps"] - windows
    assert record["padding_fraction"] == pytest.approx(record["padding_windows"] / (4 * record["steps"]))
    assert sum(rank["windows"] for rank in record["ranks"]) == windows
    assert [rank["steps"] for rank in record["ranks"]] == [record["steps"]] * 2


def test_plan_json_has_the_promised_keys(dataset):
    record = json.loads(json.dumps(plan_lanes(dataset, _settings(4, 2), 2).to_json()))
    assert list(record) == [
        "num_lanes",
        "num_ranks",
        "window_frames",
        "steps",
        "windows",
        "padding_windows",
        "padding_fraction",
        "ranks",
    ]
    assert [list(rank) for rank in record["ranks"]] == [["rank", "steps", "windows", "shards", "bytes"]] * 2


def test_plan_gives_each_rank_shards_of_its_own(dataset):
    plan = plan_lanes(dataset, _settings(4, 2), 2)
    assert sorted(shard for rank in plan.ranks for shard in rank.shards) == [0, 1, 2]
    clips = dataset.datasets[0].episodes
    assert sum(rank.num_bytes for rank in plan.ranks) == int((clips.stop_byte - clips.start_byte).sum())
    assert (plan.whole_shard_ranks, plan.sharing_ranks) == ([1, 2], [4])


def test_plan_of_a_split_leaves_the_other_part_out(dataset):
    parts = [
        plan_lanes(dataset, _settings(2, 1, split_ratio=0.7), split=split).episodes.tolist()
        for split in ("train", "val")
    ]
    assert [len(part) for part in parts] == [5, 2]
    assert sorted(parts[0] + parts[1]) == list(range(7))


def test_plan_refuses_lanes_that_do_not_divide(dataset):
    with pytest.raises(RocketError, match="10 lanes do not divide over the ranks, got 4 ranks"):
        plan_lanes(dataset, _settings(10, 2), 4)


def test_plan_refuses_a_split_without_episodes(dataset):
    with pytest.raises(RocketError, match="the val split has no episode, got split ratio 1"):
        plan_lanes(dataset, _settings(2, 1), split="val")


@pytest.mark.parametrize("columns", [60, 80])
def test_plan_text_stays_within_the_terminal(dataset, columns):
    lines = plan_lines(plan_lanes(dataset, _settings(8, 4), 4), columns, frames_per_second=100)
    assert max(map(len, lines[1:])) <= columns
    steps = plan_lanes(dataset, _settings(8, 4), 4).schedule.num_steps
    assert f"  time: {steps * 8 * 16 / 100:.1f} s at 100 frames/s" in lines


def test_plan_picture_shows_padding_and_lanes(dataset, tmp_path):
    path = tmp_path / "lanes.png"
    save_lanes(plan_lanes(dataset, _settings(4, 2), 2), path)
    with Image.open(path) as picture:
        assert picture.width == 1500
        colours = {colour for _, colour in picture.convert("RGB").getcolors(1 << 20)}
    assert len(colours) > 4  # two ranks in two shades


RUN = """
seed: 7
data:
  datasets: {datasets}
  win_len: 32
  batch_size: 4
  num_lanes: 16
  split_ratio: 0.8
  shuffle_episodes: false
  num_lane_groups: 2
  episode_continuous_batch: true
trainer: {{devices: auto, num_nodes: 1}}
"""


def test_lanes_of_a_run_are_those_that_it_trains_with(tmp_path):
    (tmp_path / "config.yaml").write_text(RUN.format(datasets="[a, b]"))
    values = {
        "num_lanes": 16,
        "window_frames": 32,
        "seed": 7,
        "split_ratio": 0.8,
        "shuffle": False,
        "num_groups": 2,
        "contiguous": True,
    }
    assert lanes_of_run(tmp_path) == RunLanes(["a", "b"], 4, values)
    assert lanes_of_run(tmp_path / "config.yaml") == RunLanes(["a", "b"], 4, values)


def test_lanes_of_the_shipped_recipe_are_read(request):
    recipe = lanes_of_run(request.config.rootpath / "configs" / "rocket1.yaml")
    assert (recipe.num_ranks, recipe.values["num_lanes"], recipe.values["window_frames"]) == (8, 64, 128)
    assert recipe.values["num_groups"] == 8


def test_plan_joins_datasets_as_training_does(small_dataset, tmp_path):
    make_dataset(tmp_path / "second", [[19, 50], [8]])
    plan = plan_lanes(open_collection([str(small_dataset), str(tmp_path / "second")]), _settings(4, 2), 2)
    assert plan.schedule.num_windows == sum(-(-length // 16) for length in [*LENGTHS, 19, 50, 8])
    assert sorted(shard for rank in plan.ranks for shard in rank.shards) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "config.yaml: cannot be read, got No such file or directory"),
        ("data: 3\n", "not all settings of a run, got no data.num_lanes. Write all of them: rocket-train show"),
        ("[", "not readable as YAML"),
    ],
)
def test_what_is_no_run_is_refused(tmp_path, text, problem):
    if text is not None:
        (tmp_path / "config.yaml").write_text(text)
    with pytest.raises(RocketError, match=problem):
        lanes_of_run(tmp_path)


def test_plan_watches_out_for_padding_with_lanes_that_leave_little(dataset):
    # 16 windows: on 8 lanes, the longest episode takes 5 steps, so 24 of 40 places are padding.
    assert plan_lanes(dataset, _settings(1, 1)).watch_out(of_run=False) == []
    [line] = plan_lanes(dataset, _settings(8, 1)).watch_out(of_run=False)
    assert line == ("60% of each epoch is padding: there are few episodes for so many lanes. Set data.num_lanes=2")
    assert plan_lanes(dataset, _settings(2, 1)).watch_out(of_run=False) == []


def test_plan_of_a_run_watches_out_for_a_split_without_validation(dataset):
    planned = plan_lanes(dataset, _settings(1, 1))
    line = "no episode is left to validate on (7 episodes in all). Set data.split_ratio=0.9"
    assert planned.watch_out(of_run=True) == [line]
    assert plan_lanes(dataset, _settings(1, 1, split_ratio=0.9)).watch_out(of_run=True) == []
