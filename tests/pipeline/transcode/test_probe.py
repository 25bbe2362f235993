"""Videos up to their first bad frame, against what the ffmpeg program decodes of the same files."""

import random
import subprocess

import av
import numpy as np
import pytest

from pipeline.transcode.decode import good_frames
from pipeline.transcode.ffmpeg import ffmpeg_program
from pipeline.transcode.probe import BadVideo, read_header
from tests.pipeline.recordings import coded_frames, read_code, write_video


def frame_checksums(video):
    """A checksum of each picture that the ffmpeg program decodes, in order."""
    command = [ffmpeg_program(), "-v", "quiet", "-threads", "1", "-i", str(video), "-f", "framemd5", "-"]
    # It ends with an error where the file is damaged, after it has printed what it could.
    lines = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False).stdout.splitlines()
    return [line.split(",")[-1].strip() for line in lines if not line.startswith("#")]


@pytest.fixture(scope="module")
def moving(tmp_path_factory):
    """120 frames of drifting noise: every picture differs from its neighbours and predicts them well."""
    video = tmp_path_factory.mktemp("video") / "moving.mp4"
    texture = np.random.default_rng(3).integers(40, 220, (16, 24), np.uint8).repeat(4, axis=0).repeat(4, axis=1)
    frames = np.full((120, 96 * 64 * 3 // 2), 128, np.uint8)
    for index in range(120):
        frames[index, : 96 * 64] = np.roll(texture, (index, 2 * index), axis=(0, 1)).reshape(-1)
    write_video(video, frames, extra=("-bf", "3"))
    return video


@pytest.mark.parametrize("seed", range(8))
def test_good_frames_end_before_the_first_picture_that_damage_changed(moving, tmp_path, seed):
    rng = random.Random(seed)
    with av.open(str(moving)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size > 60]
    packet = rng.choice(packets[5:])
    data = bytearray(moving.read_bytes())
    start = packet.pos + rng.randrange(10, packet.size - 40)
    data[start : start + 30] = rng.randbytes(30)
    damaged = tmp_path / "damaged.mp4"
    damaged.write_bytes(data)
    try:
        num_frames = sum(1 for _ in good_frames(damaged))
    except BadVideo as error:
        bad, num_good = error, error.num_good_frames
    else:
        assert num_frames == 120  # damage that the decoder takes for another picture
        return
    before, after = frame_checksums(moving), frame_checksums(damaged)
    num_same = next(i for i, pair in enumerate(zip(before, after, strict=False)) if pair[0] != pair[1])
    assert bad.reason == "bad_frame"
    assert num_good <= num_same
    # At most what waited for its turn when the decoder gave up is lost.
    assert num_good >= num_same - 4


def test_good_frames_are_those_of_the_file_in_order(tmp_path):
    write_video(tmp_path / "a.mp4", coded_frames(5, 50))
    codes = []
    for frame in good_frames(tmp_path / "a.mp4"):
        luma = np.frombuffer(frame.planes[0], np.uint8).reshape(64, -1)[:, :96]
        codes.append(read_code(np.vstack([luma, np.zeros((32, 96), np.uint8)])))
    assert codes == [(5, number) for number in range(50)]


def test_header_tells_what_ffmpeg_was_told(tmp_path):
    write_video(tmp_path / "a.mp4", coded_frames(5, 50))
    header = read_header(tmp_path / "a.mp4")
    assert (header.size_px, header.counts.coded) == ((96, 64), 50)
    assert header.frames_per_second == 20.0


def test_header_of_a_huge_frame_is_refused_before_it_is_decoded(tmp_path):
    command = [ffmpeg_program(), "-v", "error", "-f", "lavfi", "-i", "color=s=6000x4000:r=20", "-frames:v", "1"]
    subprocess.run([*command, str(tmp_path / "a.mp4")], check=True, timeout=60)
    with pytest.raises(BadVideo, match="6000x4000"):
        read_header(tmp_path / "a.mp4")


def test_header_of_a_file_without_video_is_refused(tmp_path):
    command = [ffmpeg_program(), "-v", "error", "-f", "lavfi", "-i", "sine", "-t", "1"]
    subprocess.run([*command, str(tmp_path / "a.mp4")], check=True, timeout=60)
    with pytest.raises(BadVideo, match="no video stream"):
        read_header(tmp_path / "a.mp4")


def test_a_video_that_is_not_there_is_named_so(tmp_path):
    with pytest.raises(BadVideo, match="no such file"):
        read_header(tmp_path / "a.mp4")
    with pytest.raises(BadVideo, match="no such file") as caught:
        next(good_frames(tmp_path / "a.mp4"))
    assert caught.value.reason == "video_missing"
