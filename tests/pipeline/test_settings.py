"""Settings of build-shards: defaults, bounds, contradictions."""

import pytest

from pipeline.settings import BuildSettings
from shards.errors import SettingsError
from shards.settings import load_settings, settings_of


def test_settings_without_a_file_are_the_defaults():
    assert load_settings(BuildSettings, None, []) == BuildSettings()
    assert load_settings(BuildSettings, None, []).model_dump() == {
        "frame_width": 224,
        "frame_height": 224,
        "clip_frames": 128,
        "keyframe_interval": 32,
        "preset": "training",
        "crf": 14.9,
        "tune": None,
        "copy_pieces": True,
        "keep_log": True,
        "noops": "drop",
        "max_hole_seconds": 30.0,
        "min_frames": 32,
        "shard_frames": 65536,
        "compat": None,
        "reduce_rate": False,
        "gui_mouse_scaling": False,
    }


def test_settings_that_contradict_are_told_together():
    with pytest.raises(SettingsError, match="clip_frames") as caught:
        load_settings(BuildSettings, None, ["clip_frames=48", "min_frames=64"])
    assert caught.value.problems == [
        "settings: clip_frames: got 48, expected a multiple of keyframe_interval = 32. Change one of the two.",
        "settings: min_frames: got 64, expected clip_frames = 48 or less. Change one of the two.",
    ]


def test_settings_name_units_and_bounds():
    with pytest.raises(SettingsError, match=r"crf: got 99, expected a number from 0 to 51 \(quality of the video"):
        load_settings(BuildSettings, None, ["crf=99"])
    with pytest.raises(SettingsError, match=r"unknown setting `nops`, did you mean `noops`\?"):
        load_settings(BuildSettings, None, ["nops=keep"])


def test_every_setting_says_what_it_means():
    assert [one.key for one in settings_of(BuildSettings) if not one.meaning] == []


def test_a_dataset_says_which_codec_it_has():
    record = BuildSettings().codec_record()
    assert (record["name"], record["preset"], record["crf"]) == ("libx264", "superfast", "14.9")
    assert record["parameters"].items() >= {"cabac": "0", "open-gop": "0", "colormatrix": "smpte170m"}.items()
    assert "tune" not in record
    assert BuildSettings(tune="ssim").codec_record()["tune"] == "ssim"
