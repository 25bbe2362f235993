"""Frames to clips: what the ffmpeg program and a second H.264 reader say about them."""

import io
import json
import re
import subprocess
from contextlib import closing

import av
import numpy as np
import pytest

from pipeline.settings import TRAINING_PARAMS, BuildSettings
from pipeline.transcode.encoding import ClipEncoder, EncodingFailed, encoder_command, num_samples
from pipeline.transcode.ffmpeg import ffmpeg_program
from shards.video import decode_yuv
from tests.pipeline.recordings import TINY, coded_frames, read_code


def planes_of(frames):
    return [[memoryview(np.ascontiguousarray(frame))] for frame in frames]


def encode(frames, settings, folder):
    with closing(ClipEncoder(settings, folder, where="a test")) as encoder:
        clips = []
        for planes in planes_of(frames):
            encoder.write(planes)
            clips += encoder.take_finished()
        clips += encoder.finish()
    assert not folder.exists()
    return clips


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    settings = TINY.model_copy(update={"clip_frames": 32, "preset": "veryfast"})
    return encode(coded_frames(3, 75, (32, 32)), settings, tmp_path_factory.mktemp("clips") / "work")


def test_clips_hold_all_frames_in_order(clips):
    codes = [[read_code(frame) for frame in decode_yuv(clip, 0, num_samples(clip))] for clip in clips]
    assert codes == [[(3, frame) for frame in range(start, min(start + 32, 75))] for start in (0, 32, 64)]


def test_clips_decode_alone_from_any_frame(clips):
    for start in range(31):
        [frame] = decode_yuv(clips[1], start, start + 1)
        assert read_code(frame) == (3, 32 + start)


def test_clips_have_closed_groups_of_pictures_at_fixed_places(clips):
    """Every 8th frame is an instantaneous decoder refresh (NAL unit type 5): nothing refers across it."""
    for clip in clips:
        with av.open(io.BytesIO(clip)) as container:
            packets = [packet for packet in container.demux(video=0) if packet.size]
        first = packets[0].pts
        refreshes = []
        for packet in packets:
            data, at, kinds = bytes(packet), 0, set()
            while at < len(data):
                kinds.add(data[at + 4] & 31)
                at += 4 + int.from_bytes(data[at : at + 4], "big")
            if 5 in kinds:
                refreshes.append(round((packet.pts - first) / (packets[0].duration or 1)))
        assert refreshes == list(range(0, len(packets), 8))


def test_clips_start_at_time_zero_at_twenty_frames_per_second(clips, tmp_path):
    (tmp_path / "a.mp4").write_bytes(clips[2])
    command = [ffmpeg_program(), "-v", "error", "-i", str(tmp_path / "a.mp4"), "-f", "framemd5", "-"]
    lines = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    assert "#tb 0: 1/20" in lines
    assert [int(line.split(",")[2]) for line in lines if not line.startswith("#")] == list(range(11))


def test_clips_are_tagged_as_limited_range_bt601(clips, tmp_path):
    (tmp_path / "a.mp4").write_bytes(clips[0])
    command = [ffmpeg_program(), "-hide_banner", "-i", str(tmp_path / "a.mp4")]
    words = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stderr
    assert "yuv420p(tv, smpte170m" in words


def test_the_same_frames_give_the_same_bytes_however_they_are_fed(clips, tmp_path):
    settings = TINY.model_copy(update={"clip_frames": 32, "preset": "veryfast"})
    frames = coded_frames(3, 75, (32, 32))
    with closing(ClipEncoder(settings, tmp_path / "work", where="a test")) as encoder:
        for [frame] in planes_of(frames):
            encoder.write([frame[:1024], frame[1024:1280], frame[1280:]])
        assert list(encoder.finish()) == clips


@pytest.mark.parametrize(("num_frames", "lengths"), [(1, [1]), (16, [16]), (17, [16, 1]), (32, [16, 16])])
def test_clips_of_any_number_of_frames_are_as_long_as_they_should_be(tmp_path, num_frames, lengths):
    clips = encode(coded_frames(0, num_frames, (32, 32)), TINY, tmp_path / "work")
    assert [num_samples(clip) for clip in clips] == lengths


def test_an_episode_without_frames_gives_no_clip(tmp_path):
    assert encode([], TINY, tmp_path / "work") == []


def test_the_work_folder_may_have_any_name(tmp_path):
    assert len(encode(coded_frames(0, 3, (32, 32)), TINY, tmp_path / "a %d: 'b'" / "-work")) == 1


def test_an_encoder_that_is_left_early_leaves_neither_process_nor_folder(tmp_path):
    with (
        pytest.raises(KeyError, match="away"),
        closing(ClipEncoder(TINY, tmp_path / "work", where="a test")) as encoder,
    ):
        encoder.write(planes_of(coded_frames(0, 1, (32, 32)))[0])
        process = encoder._process
        raise KeyError("away")
    assert process.returncode is not None
    assert not (tmp_path / "work").exists()


def test_an_encoder_that_dies_says_so_when_it_is_written_to(tmp_path):
    frames = planes_of(coded_frames(0, 400, (32, 32)))
    with closing(ClipEncoder(TINY, tmp_path / "work", where="episode x")) as encoder:
        encoder._process.kill()
        encoder._process.wait()
        with pytest.raises(EncodingFailed, match=r"episode x: ffmpeg ended early with SIGKILL") as failure:
            for planes in frames:
                encoder.write(planes)
    assert failure.value.killed


def test_num_samples_of_what_is_no_mp4_is_none():
    assert [num_samples(data) for data in (b"", b"abc", bytes(100), b"\0\0\0\x08moov" + bytes(4))] == [0, 0, 0, 0]


def test_the_codecs_table_choice_is_what_ffmpeg_is_told():
    options = BuildSettings().codec_options()
    assert (options["preset"], options["crf"]) == ("superfast", "14.9")
    assert "tune" not in options
    assert options["x264-params"].startswith(f"{TRAINING_PARAMS}:cpu-independent=1:open-gop=0:")
    assert json.dumps(options)


def test_other_presets_are_x264s_own():
    options = BuildSettings(preset="veryfast", tune="fastdecode").codec_options()
    assert (options["preset"], options["tune"]) == ("veryfast", "fastdecode")
    assert options["x264-params"].startswith("cpu-independent=1:open-gop=0:")


def test_every_parameter_of_ours_reaches_x264(tmp_path):
    """x264 writes what it was told into the stream; ffmpeg only warns of a parameter that it does not know."""
    command = encoder_command(BuildSettings(frame_width=64, frame_height=64), tmp_path)
    command = [word for word in command if word not in ("-flags:v", "-fflags", "+bitexact")]
    frames = np.random.default_rng(0).integers(0, 255, 4 * 64 * 96, np.uint8).tobytes()
    subprocess.run(command, input=frames, check=True, timeout=60)
    (written,) = re.findall(rb"x264 - core .* options: ([^\x00]*)", (tmp_path / "000000.mp4").read_bytes())
    told = dict(word.split("=", 1) for word in written.decode("ascii", "replace").split() if "=" in word)
    wanted = {
        "cabac": "0",
        "weightp": "0",
        "deblock": "1:1:1",
        "deadzone": "11,6",
        "qcomp": "0.40",
        "chroma_qp_offset": "-3",
        "mbtree": "1",
        "rc_lookahead": "10",
        "subme": "5",
        "me": "hex",
        "analyse": "0x1:0x111",  # i4x4; of predicted frames i4x4, p8x8, b8x8
        "8x8dct": "0",
        "open_gop": "0",
        "keyint": "32",
        "scenecut": "0",
        "threads": "1",
        "crf": "14.9",
    }
    assert {name: told.get(name) for name in wanted} == wanted
