"""Frames to clips: what the ffmpeg program and a second H.264 reader say about them."""

import io
import json
import re
import subprocess

import av
import numpy as np
import pytest

from pipeline.ffmpeg import ffmpeg_program
from pipeline.probe import good_frames
from pipeline.settings import TRAINING_PARAMS, BuildSettings
from pipeline.transcode import ClipEncoder, EncodingFailed, FrameScaler, encoder_command, num_samples
from shards.video import decode_yuv
from tests.pipeline.recordings import TINY, coded_frames, read_code, write_video


def planes_of(frames):
    return [[memoryview(np.ascontiguousarray(frame))] for frame in frames]


def encode(frames, settings, folder):
    with ClipEncoder(settings, folder, where="a test") as encoder:
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
    with ClipEncoder(settings, tmp_path / "work", where="a test") as encoder:
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
    with pytest.raises(KeyError, match="away"), ClipEncoder(TINY, tmp_path / "work", where="a test") as encoder:
        encoder.write(planes_of(coded_frames(0, 1, (32, 32)))[0])
        process = encoder._process
        raise KeyError("away")
    assert process.returncode is not None
    assert not (tmp_path / "work").exists()


def test_an_encoder_that_dies_says_so_when_it_is_written_to(tmp_path):
    frames = planes_of(coded_frames(0, 400, (32, 32)))
    with ClipEncoder(TINY, tmp_path / "work", where="episode x") as encoder:
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
    assert (options["preset"], options["crf"]) == ("superfast", "17.4")
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
        "aq": "2:1.00",
        "chroma_qp_offset": "-3",
        "mbtree": "1",
        "rc_lookahead": "10",
        "subme": "3",
        "analyse": "0x1:0x111",  # i4x4; of predicted frames i4x4, p8x8, b8x8
        "8x8dct": "0",
        "open_gop": "0",
        "keyint": "32",
        "scenecut": "0",
        "threads": "1",
        "crf": "17.4",
    }
    assert {name: told.get(name) for name in wanted} == wanted


def area_scaled(plane, height, width):
    """The mean over each target pixel's area, by two weight matrices."""

    def weights(size, new_size):
        scale = size / new_size
        edges = np.arange(new_size)[:, None] * scale
        overlap = np.minimum(edges + scale, np.arange(size) + 1) - np.maximum(edges, np.arange(size))
        return np.clip(overlap, 0, None) / scale

    return weights(plane.shape[0], height) @ plane @ weights(plane.shape[1], width).T


def noise_video(path, extra=()):
    """Eight frames of blurred noise in all planes, and what an ffmpeg decodes of them: (8, bytes of a frame)."""
    rng = np.random.default_rng(2)
    frames = [
        np.concatenate(
            [
                rng.integers(30, 220, (h // 8, w // 8), np.uint8).repeat(8, axis=0).repeat(8, axis=1).reshape(-1)
                for h, w in ((64, 96), (32, 48), (32, 48))
            ]
        )
        for _ in range(8)
    ]
    write_video(path, np.stack(frames), extra=("-crf", "1", *extra))
    command = [ffmpeg_program(), "-v", "error", "-i", str(path), "-f", "rawvideo", "-pix_fmt", "yuv420p", "-"]
    raw = subprocess.run(command, capture_output=True, check=True, timeout=60).stdout
    return np.frombuffer(raw, np.uint8).reshape(8, -1)


def test_frames_are_scaled_by_area(tmp_path):
    decoded = noise_video(tmp_path / "a.mp4")
    scaler = FrameScaler(32, 24)
    for raw, frame in zip(decoded, good_frames(tmp_path / "a.mp4"), strict=True):
        planes = [np.array(plane) for plane in scaler.scale(frame, None)]
        assert [len(plane) for plane in planes] == [32 * 24, 16 * 12, 16 * 12]
        luma = area_scaled(raw[: 96 * 64].reshape(64, 96), 24, 32)
        blue = area_scaled(raw[96 * 64 :][: 48 * 32].reshape(32, 48), 12, 16)
        assert np.abs(planes[0].reshape(24, 32) - luma).max() <= 1
        assert np.abs(planes[1].reshape(12, 16) - blue).max() <= 1


def test_the_cursor_changes_the_frame_and_not_the_decoders_copy(tmp_path):
    """Every frame is drawn on; those after it are predicted from it, and must not show the cursors before."""
    decoded = noise_video(tmp_path / "a.mp4")
    scaler = FrameScaler(96, 64)
    for number, frame in enumerate(good_frames(tmp_path / "a.mp4")):
        planes = scaler.scale(frame, (10.0 * number, 20.0))
        luma = np.array(planes[0]).reshape(64, 96).astype(int)
        changed = np.argwhere(luma != decoded[number, : 96 * 64].reshape(64, 96))
        assert luma[20, 10 * number] == 16
        assert changed.min(axis=0).tolist() >= [20, 10 * number]
        assert (changed.max(axis=0) < [36, 10 * number + 16]).all()


def test_full_range_video_becomes_limited_range(tmp_path):
    frames = np.full((4, 96 * 64 * 3 // 2), 128, np.uint8)
    frames[:, : 96 * 64] = np.array([0, 85, 170, 255], np.uint8)[:, None]
    command = [ffmpeg_program(), "-v", "error", "-f", "rawvideo", "-pix_fmt", "yuvj420p", "-video_size", "96x64"]
    command += ["-color_range", "pc", "-framerate", "20", "-i", "pipe:", "-c:v", "libx264", "-crf", "1"]
    subprocess.run([*command, "-pix_fmt", "yuvj420p", "-color_range", "pc", str(tmp_path / "a.mp4")],
                   input=frames.tobytes(), check=True, timeout=60)  # fmt: skip
    scaler = FrameScaler(32, 32)
    levels = [float(np.array(scaler.scale(frame, None)[0]).mean()) for frame in good_frames(tmp_path / "a.mp4")]
    np.testing.assert_allclose(levels, [16, 89, 162, 235], atol=1.5)
