"""Frames with what is known of them drawn on, as sheets and films."""

from dataclasses import replace

import av
import numpy as np
import pytest
from PIL import Image

from pipeline.look.lane_plan import plan_lanes
from pipeline.look.preview import lane_stretches, parse_range, preview_episode, preview_lane
from shards import DatasetError, RocketError, open_dataset
from shards.action_space import ACTION_SPACE
from shards.clip import Interaction
from shards.display.drawing import draw_frame, outline, tint_masks
from shards.display.film import FILM_WIDTH_PX
from shards.display.footage import Stretch
from shards.display.palette import HUMAN, POLICY, type_rgb
from shards.display.shown_frame import ShownAction, ShownFrame, ShownMask, yuv_to_rgb
from shards.places import file_of
from shards.schedule.collection import Collection
from shards.schedule.settings import ScheduleSettings
from tests.synthetic import HEIGHT, WIDTH, actions_of, mask_of

BUTTONS = ACTION_SPACE.buttons

LANES = ScheduleSettings(num_lanes=4, num_groups=2, window_frames=16)
STONE = Interaction(type=2, event="mine_block:stone", start=0, stop=9)


@pytest.fixture(scope="module")
def dataset(small_dataset):
    return open_dataset(small_dataset)


def _action(pressed=(), camera=(0.0, 0.0)):
    return ShownAction(np.array([name in pressed for name in BUTTONS], np.uint8), camera)


def _shown(pressed=(), camera=(0.0, 0.0), masks=()):
    return ShownFrame(
        episode_id="ep",
        frame=7,
        rgb=np.zeros((HEIGHT, WIDTH, 3), np.uint8),
        action=_action(pressed, camera),
        gui=False,
        masks=masks,
    )


def test_frames_come_with_their_own_actions_and_masks(dataset):
    episode = list(Stretch(dataset, 3, 0, 70, "").frames())
    assert [item.frame for item in episode] == list(range(70))
    shown = [episode[frame] for frame in (0, 3, 4, 17, 35, 69)]
    for item in episode:
        buttons, camera = actions_of(3, item.frame)
        assert item.action.buttons.tolist() == buttons.tolist()
        assert item.action.camera == tuple(camera)
    assert [[mask.interaction.event for mask in item.masks] for item in shown] == [
        [],
        [],
        ["event_0"],
        ["event_0", "event_1"],
        ["event_1", "event_2"],
        ["event_4"],
    ]
    assert (shown[2].masks[0].mask == mask_of(0, 4)).all()


def test_a_goal_hides_the_other_candidates(dataset):
    goals = np.full(70, 1, np.int32)
    (shown,) = Stretch(dataset, 3, 17, 18, "", goals=goals).frames()
    assert [mask.interaction.event for mask in shown.masks] == ["event_1"]


@pytest.mark.parametrize(
    ("yuv", "rgb"), [((16, 128, 128), (0, 0, 0)), ((235, 128, 128), (255,) * 3), ((81, 90, 240), (254, 0, 0))]
)
def test_colours_are_those_of_bt_601(yuv, rgb):
    planes = np.repeat(np.array(yuv, np.uint8), (HEIGHT * WIDTH, HEIGHT * WIDTH // 4, HEIGHT * WIDTH // 4))
    pixels = yuv_to_rgb(planes.reshape(HEIGHT * 3 // 2, WIDTH))
    assert np.abs(pixels.astype(int) - rgb).max() <= 2


def test_pressed_keys_are_lit_and_others_are_not():
    def lit(*pressed):
        return int((np.asarray(draw_frame(_shown(pressed))) == HUMAN).all(axis=-1).sum())

    assert lit() == 0
    for name in BUTTONS:
        assert lit(name) > 10, name
    assert lit("forward", "attack", "hotbar.4") > lit("forward", "attack") > lit("forward")


@pytest.mark.parametrize(
    ("camera", "side"), [((0, 5), (1, 0)), ((0, -5), (-1, 0)), ((5, 0), (0, 1)), ((-5, 0), (0, -1))]
)
def test_camera_arrow_points_where_the_view_goes(camera, side):
    picture = np.asarray(draw_frame(_shown(camera=camera)))
    height = HEIGHT * (picture.shape[1] // WIDTH)
    rows, columns = np.nonzero((picture[:height] == HUMAN).all(axis=-1))
    offset = (columns.mean() - picture.shape[1] / 2, rows.mean() - height / 2)
    along = offset[0] * side[0] + offset[1] * side[1]
    across = offset[0] * side[1] + offset[1] * side[0]
    assert along > 10 > 3 > abs(across)


def test_a_policys_action_has_a_panel_and_an_arrow_of_its_own():
    human, policy = _action(["forward"], (0.0, 5.0)), _action(["attack"], (5.0, 0.0))
    alone = draw_frame(_shown(["forward"], (0.0, 5.0)))
    both = np.asarray(draw_frame(replace(_shown(), action=human, predicted=policy)))
    assert both.shape[0] > alone.height
    height = HEIGHT * (both.shape[1] // WIDTH)
    rows, columns = np.nonzero((both[:height] == POLICY).all(axis=-1))
    assert rows.mean() - height / 2 > 10 > abs(columns.mean() - both.shape[1] / 2)
    rows, _ = np.nonzero((both == POLICY).all(axis=-1))
    assert rows.max() > alone.height > rows[rows > height].min() - 40


def test_masks_are_tinted_and_outlined_in_their_types_colour():
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[4:9, 10:20] = True
    pixels = tint_masks(_shown(masks=[ShownMask(STONE, mask)]))
    assert tuple(pixels[4, 10]) == type_rgb(2)
    assert tuple(pixels[6, 15]) == tuple(round(0.45 * part) for part in type_rgb(2))
    assert not pixels[~mask].any()
    assert outline(mask).sum() == 2 * 10 + 2 * 3


def test_contact_sheet_of_an_episode_is_a_picture(dataset, tmp_path):
    assert preview_episode(dataset, "ep003", (10, 40), tmp_path / "sheet.png", num_cells=12) == 12
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width > 6 * 224


def test_film_of_an_episode_has_every_frame(dataset, tmp_path):
    assert preview_episode(dataset, "ep003", (10, 40), tmp_path / "film.mp4") == 30
    with av.open(str(tmp_path / "film.mp4")) as container:
        stream = container.streams.video[0]
        assert (stream.average_rate, stream.width) == (20, FILM_WIDTH_PX // WIDTH * WIDTH + WIDTH)
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
    assert len(frames) == 30
    (expected,) = Stretch(dataset, 3, 25, 26, "").frames()
    drawn = np.asarray(draw_frame(expected, FILM_WIDTH_PX)).astype(int)
    assert np.abs(frames[15] - drawn).mean() < 6 < np.abs(frames[20] - drawn).mean()


def test_lane_shows_its_windows_resets_and_padding(dataset, tmp_path):
    plan = plan_lanes(Collection([dataset]), LANES, 2)
    schedule = plan.schedule
    lane = int(schedule.lane_windows.argmin())
    steps = lane_stretches(plan, lane)
    windows = [schedule.window(step, lane) for step in range(schedule.num_steps)]
    assert [(step.start, step.stop) for step in steps] == [
        (window.start, window.stop) if window else (0, 0) for window in windows
    ]
    assert [step.memory == "empty" for step in steps] == [bool(window) and window.start == 0 for window in windows]
    assert steps[0].caption.endswith("frames 0:16, memory starts empty")
    assert steps[-1].caption == f"step {schedule.num_steps - 1}: padding, masked and without loss"
    shown = preview_lane(plan, lane, (None, None), tmp_path / "lane.png", num_cells=3)
    assert shown == sum(min(3, window.stop - window.start) for window in windows if window)
    total = sum(window.stop - window.start if window else 1 for window in windows)
    assert preview_lane(plan, lane, (None, None), tmp_path / "lane.mp4") == total


def test_unknown_lane_step_frame_and_episode_are_refused_by_name(dataset, tmp_path):
    plan = plan_lanes(Collection([dataset]), LANES, 2)
    with pytest.raises(RocketError, match="--lane: no lane 4, expected 0 to 3"):
        lane_stretches(plan, 4)
    with pytest.raises(RocketError, match=r"--steps: got 0:99, expected steps of 0:5. Use --steps 0:5"):
        lane_stretches(plan, 0, (0, 99))
    with pytest.raises(RocketError, match="--frames: got 60:80, expected frames of 0:70"):
        preview_episode(dataset, "ep003", (60, 80), tmp_path / "sheet.png")
    with pytest.raises(DatasetError, match="no episode eq003. Did you mean ep003"):
        preview_episode(dataset, "eq003", (0, 1), tmp_path / "sheet.png")
    with pytest.raises(RocketError, match="sheet.gif ends in .gif, expected .png or .jpg or .mp4"):
        file_of(".png", ".jpg", ".mp4")(tmp_path / "sheet.gif")
    with pytest.raises(RocketError, match="the folder .* is missing. Make it: mkdir -p"):
        file_of(".png", ".jpg", ".mp4")(tmp_path / "nowhere" / "sheet.png")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [("3:9", (3, 9)), (":9", (None, 9)), ("3:", (3, None)), (":", (None, None)), ("7", (7, 8))],
)
def test_ranges_are_half_open_and_may_lack_an_end(text, expected):
    assert parse_range("--frames", text) == expected


@pytest.mark.parametrize("text", ["a:b", "-3:9", "1:2:3", "1,2", ""])
def test_what_is_no_range_is_refused(text):
    with pytest.raises(RocketError, match="--frames: got .*, expected START:STOP"):
        parse_range("--frames", text)
