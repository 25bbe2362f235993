"""Played episodes written as recordings: built again, they hold the same actions, frames and masks."""

import json

import numpy as np

from pipeline.build.job import build_shards
from pipeline.settings import BuildSettings
from shards import open_dataset
from shards.action_space import ACTION_SPACE
from shards.masks import decode_runs
from tests.pipeline.inline_engine import InlineEngine
from trainer.play.recording import EpisodeRecorder
from trainer.play.rollout import EpisodePlan, PlayedFrame

NUM_FRAMES, HEIGHT, WIDTH = 40, 90, 160


def played_frames():
    """Frames with changing buttons, `attack` from the first on, camera bins, and a mask in some of them."""
    random = np.random.default_rng(0)
    for step in range(NUM_FRAMES):
        buttons = np.zeros(len(ACTION_SPACE.buttons), np.uint8)
        buttons[: len(ACTION_SPACE.policy_buttons)] = random.random(len(ACTION_SPACE.policy_buttons)) < 0.3
        buttons[ACTION_SPACE.column["attack"]] = step < 3 or step % 5 == 0
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[10 : 20 + step % 4, 5:50] = 1
        camera = np.array([0.6154, -10.0]) * (step % 3 - 1)
        obj_id = (-1, 2, 2, 3)[step // 10]
        image = np.full((HEIGHT, WIDTH, 3), 5 * step, np.uint8)
        yield PlayedFrame(image, mask, obj_id, buttons, camera, step, gui=step == 4)


def test_rollouts_are_recordings_whose_actions_and_masks_come_back(tmp_path):
    frames = list(played_frames())
    recorder = EpisodeRecorder(tmp_path, EpisodePlan("bell", 11))
    for frame in frames:
        recorder.add(frame)
    recorder.close(finished=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"play-bell-00000000000b-20200101-000000{ending}" for ending in (".jsonl", ".masks.jsonl", ".mp4")
    ]
    out = tmp_path / "dataset"
    settings = BuildSettings(
        frame_width=WIDTH, frame_height=HEIGHT, noops="keep", clip_frames=64, keyframe_interval=32
    )
    build_shards([tmp_path], out, settings, InlineEngine())
    dataset = open_dataset(str(out))
    (clip,) = [dataset.read_clip(0, row) for row in dataset.clip_rows(0)]
    arrays = clip.arrays
    np.testing.assert_array_equal(arrays.buttons, [frame.buttons for frame in frames])
    np.testing.assert_allclose(arrays.camera, [frame.camera for frame in frames], atol=1e-5)
    assert arrays.gui.tolist() == [frame.gui for frame in frames]
    interactions = [(i.type, i.event, i.start, i.stop) for i in clip.info.interactions.values()]
    assert interactions == [(2, "play:bell", 10, 30), (3, "play:bell", 30, 40)]
    shown = np.repeat(np.arange(NUM_FRAMES), np.diff(arrays.candidate_offsets))
    assert shown.tolist() == list(range(10, 40))
    for frame, start, stop in zip(shown, arrays.mask_offsets, arrays.mask_offsets[1:], strict=False):
        mask = decode_runs(arrays.mask_runs[start:stop], HEIGHT, WIDTH)
        np.testing.assert_array_equal(mask, frames[frame].mask)


def test_episode_that_is_broken_off_leaves_no_files(tmp_path):
    recorder = EpisodeRecorder(tmp_path, EpisodePlan(None, 1))
    recorder.add(next(played_frames()))
    recorder.close(finished=False)
    assert list(tmp_path.iterdir()) == []


def test_log_lines_are_json_of_the_recorders_fields(tmp_path):
    recorder = EpisodeRecorder(tmp_path, EpisodePlan(None, 1))
    frame = next(played_frames())
    recorder.add(frame)
    recorder.close(finished=True)
    (line,) = (tmp_path / f"{recorder.name}.jsonl").read_text().splitlines()
    content = json.loads(line)
    assert content["mouse"]["buttons"][0] == 0
    assert content["mouse"]["newButtons"] == []
    assert content["mouse"]["dx"] == frame.camera[1] / 0.15
