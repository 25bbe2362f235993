"""Settings of build-shards: read from YAML and KEY=VALUE, all problems at once."""

import pytest

from pipeline.settings import BuildSettings, SettingsError, load_settings


def test_settings_without_a_file_are_the_defaults():
    assert load_settings(None, []) == BuildSettings()
    assert load_settings(None, []).model_dump() == {
        "frame_width": 224,
        "frame_height": 224,
        "clip_frames": 128,
        "keyframe_interval": 32,
        "preset": "training",
        "crf": 15.4,
        "tune": None,
        "copy_pieces": True,
        "noops": "drop",
        "max_hole_seconds": 30.0,
        "min_frames": 32,
        "shard_frames": 65536,
        "compat": None,
        "gui_mouse_scaling": False,
    }


def test_settings_of_a_file_give_way_to_words(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("crf: 18\nnoops: keep\nmax_hole_seconds: 1e1\n")
    settings = load_settings(file, ["crf=20", "tune=film", "crf=21"])
    assert (settings.crf, settings.noops, settings.max_hole_seconds, settings.tune) == (21.0, "keep", 10.0, "film")


def test_settings_name_all_problems_at_once(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text("colour: red\ncrf: many\nframe_width: 223\n")
    with pytest.raises(SettingsError) as problem:
        load_settings(file, ["noops=maybe"])
    message = str(problem.value)
    assert message.startswith(f"{file}: ")
    assert "colour is no setting" in message
    assert "crf = 'many'" in message
    assert "frame_width = 223" in message
    assert "noops = 'maybe'" in message
    assert "Settings are: frame_width, frame_height, clip_frames" in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["crf"], r"got 'crf', expected KEY=VALUE, such as crf=18"),
        (["=3"], r"got '=3', expected KEY=VALUE"),
        (["clip_frames=100"], r"clip_frames = 100 is not a multiple of keyframe_interval = 32"),
        (["min_frames=500"], r"min_frames = 500 is more than clip_frames = 128"),
        (["crf=-1"], r"crf = -1: input should be greater than or equal to 0"),
        (["clip.frames=3"], r"clip is no setting"),
    ],
)
def test_settings_refuse_wrong_words_by_name(words, message):
    with pytest.raises(SettingsError, match=message):
        load_settings(None, words)


def test_settings_that_contradict_are_told_together():
    with pytest.raises(SettingsError, match=r"clip_frames = 48 .*; min_frames = 64 is more"):
        load_settings(None, ["clip_frames=48", "min_frames=64"])


def test_settings_file_that_is_missing_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"none\.yaml: cannot be read, got No such file or directory"):
        load_settings(tmp_path / "none.yaml", [])


@pytest.mark.parametrize("text", ["- a\n- b\n", "crf: [1\n", "\x00"])
def test_settings_file_that_is_no_mapping_is_refused(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(SettingsError, match=r"a\.yaml: not YAML settings"):
        load_settings(tmp_path / "a.yaml", [])


def test_a_dataset_says_which_codec_it_has():
    record = BuildSettings().codec_record()
    assert (record["name"], record["preset"], record["crf"]) == ("libx264", "superfast", "15.4")
    assert record["parameters"].items() >= {"cabac": "0", "open-gop": "0", "colormatrix": "smpte170m"}.items()
    assert "tune" not in record
    assert BuildSettings(tune="ssim").codec_record()["tune"] == "ssim"
