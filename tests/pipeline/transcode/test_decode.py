"""Every coded frame accounted for: files that decoders and containers make look whole, against painted numbers."""

import io
import json
import struct
import subprocess
import zlib

import av
import numpy as np
import pytest

from pipeline.transcode.decode import good_frames
from pipeline.transcode.ffmpeg import ffmpeg_program
from pipeline.transcode.probe import BadVideo, read_header
from tests.pipeline.recordings import coded_frames, read_code, write_video

NUM_FRAMES = 60
RAW = ("-f", "rawvideo", "-pix_fmt", "yuv420p", "-video_size", "96x64", "-framerate", "20", "-i", "pipe:")


def shown(video, num_lines=NUM_FRAMES, read=None):
    """The numbers of the frames that can be used, the reason why there are no more, and the notes."""
    numbers, notes = [], []
    try:
        numbers.extend(map(read or number_of, good_frames(video, num_lines, notes)))
    except BadVideo as bad:
        return numbers[: bad.num_good_frames], bad.reason, notes
    return numbers, None, notes


def number_of(frame):
    luma = np.frombuffer(frame.planes[0], np.uint8).reshape(frame.height, -1)[:, : frame.width]
    return read_code(np.vstack([luma, np.zeros((frame.height // 2, frame.width), np.uint8)]))[1]


def painted_number(frame):
    """The number in the lowest quarter of the shared cases' pictures: eight columns, the lowest bit first."""
    low = frame.to_ndarray(format="gray")[frame.height * 13 // 16 : frame.height * 15 // 16]
    columns = np.array_split(low, 8, axis=1)
    return sum(int(column[:, 4:-4].mean() > 125) << bit for bit, column in enumerate(columns))


def first(num_frames):
    return list(range(num_frames))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """60 frames of H.264 in mp4, with B-frames and a key frame every 24."""
    video = tmp_path_factory.mktemp("decode") / "whole.mp4"
    write_video(
        video, coded_frames(0, NUM_FRAMES), extra=("-x264-params", "keyint=24:scenecut=0:bframes=3:b-adapt=0")
    )
    return video


def packets_of(video):
    with av.open(str(video)) as container:
        return [packet for packet in container.demux(video=0) if packet.size]


def without(video, lost, out):
    """The video without one of its packets, the others' times as they were; returns the lost one's place."""
    with av.open(str(video)) as source, av.open(str(out), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        place = sorted(packet.pts for packet in packets).index(packets[lost].pts)
        for packet in packets[:lost] + packets[lost + 1 :]:
            packet.stream = stream
            target.mux(packet)
    return place


def run_ffmpeg(*words, frames=None):
    command = [ffmpeg_program(), "-v", "error", "-y", *map(str, words)]
    subprocess.run(command, input=None if frames is None else frames.tobytes(), check=True, timeout=60)


@pytest.mark.parametrize(
    ("case", "expected", "reason"),
    [
        ("A-editlist.mp4", first(60), None),
        ("R-reorder.mp4", first(60), None),
        ("F-packet-lost.mp4", first(20), "bad_frame"),
        ("B-opengop.mkv", [], "bad_frame"),
        ("ROT-90.mp4", [], "not_upright"),
    ],
)
def test_shared_cases_give_the_frames_that_belong_to_the_log(shared, case, expected, reason):
    video = shared / "cases" / case
    num_lines = len(video.with_suffix(".jsonl").read_text().splitlines())
    assert shown(video, num_lines, painted_number)[:2] == (expected, reason)


@pytest.mark.parametrize(
    ("num_lines", "expected", "reason"),
    [
        (60, first(60), None),  # the log is about all coded frames
        (50, list(range(10, 60)), None),  # about those that players show
        (59, first(60), None),  # a video may have one frame more than its log
        (49, list(range(10, 60)), None),
        (55, [], "edit_list"),  # nobody knows
    ],
)
def test_frames_that_an_edit_list_hides_count_if_the_log_has_lines_for_them(
    whole, tmp_path, num_lines, expected, reason
):
    run_ffmpeg("-ss", "0.5", "-i", whole, "-c", "copy", "-avoid_negative_ts", "disabled", tmp_path / "cut.mp4")
    assert read_header(tmp_path / "cut.mp4").counts.coded == 60
    assert shown(tmp_path / "cut.mp4", num_lines)[:2] == (expected, reason)
    piece = io.BytesIO((tmp_path / "cut.mp4").read_bytes())  # as LMDB sets hold pieces of video
    assert shown(piece, num_lines)[:2] == (expected, reason)


def test_an_open_gop_at_the_start_leaves_nothing_to_trust(tmp_path):
    options = ("-x264-params", "open-gop=1:keyint=12:scenecut=0:bframes=3:b-adapt=0")
    write_video(tmp_path / "open.mp4", coded_frames(0, NUM_FRAMES), extra=options)
    keys = [index for index, packet in enumerate(packets_of(tmp_path / "open.mp4")) if packet.is_keyframe]
    with av.open(str(tmp_path / "open.mp4")) as source, av.open(str(tmp_path / "cut.mkv"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in [packet for packet in source.demux(video=0) if packet.size][keys[1] :]:
            packet.stream = stream
            target.mux(packet)
    assert shown(tmp_path / "cut.mkv", NUM_FRAMES - keys[1])[0] == []


def test_an_edit_list_that_shows_frames_in_another_order_does_not_reorder_those_of_the_log(whole, tmp_path):
    """Frames 30 to 59, then 0 to 29, as an editor's rearranged film."""
    first_packet = packets_of(whole)[0]
    a_frame, first_time = first_packet.duration, first_packet.pts - first_packet.dts
    data = bytearray(whole.read_bytes())
    entries = b"".join(struct.pack(">IiI", 1500, first_time + at * a_frame, 1 << 16) for at in (30, 0))
    start = data.index(b"elst") - 4
    size = int.from_bytes(data[start : start + 4], "big")
    box = struct.pack(">I4sII", 16 + len(entries), b"elst", 0, 2) + entries
    for name in (b"edts", b"trak", b"moov"):  # the frames lie before them and stay where they are
        at = data.index(name) - 4
        data[at : at + 4] = struct.pack(">I", int.from_bytes(data[at : at + 4], "big") + len(box) - size)
    data[start : start + size] = box
    (tmp_path / "turned.mp4").write_bytes(data)
    places = [packet.pos for packet in packets_of(tmp_path / "turned.mp4") if not packet.is_discard]
    assert places != sorted(places)
    assert shown(tmp_path / "turned.mp4")[:2] == (first(60), None)


@pytest.mark.parametrize("num_lines", [60, 61])
@pytest.mark.parametrize(("twice", "num_good"), [(0, 0), (11, 10), (12, 12), (24, 24)])
def test_a_packet_that_is_there_twice_ends_the_video(whole, tmp_path, twice, num_good, num_lines):
    """A key frame, two B-frames that nothing is predicted from, and a key frame in mid-stream."""
    packets, again = packets_of(whole), packets_of(whole)[twice]
    with av.open(str(whole)) as source, av.open(str(tmp_path / "twice.mkv"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in packets[twice + 1 :]:
            packet.dts += 1
        again.dts += 1
        for packet in [*packets[: twice + 1], again, *packets[twice + 1 :]]:
            packet.stream = stream
            target.mux(packet)
    assert shown(tmp_path / "twice.mkv", num_lines)[:2] == (first(num_good), "bad_frame")


def test_a_picture_that_is_there_twice_is_known_by_its_time_where_the_stream_has_no_numbers(tmp_path):
    run_ffmpeg(*RAW, "-c:v", "mjpeg", "-q:v", "2", tmp_path / "whole.mkv", frames=coded_frames(0, NUM_FRAMES))
    with av.open(str(tmp_path / "whole.mkv")) as source, av.open(str(tmp_path / "twice.mkv"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = packets_of(tmp_path / "whole.mkv")
        for packet in [*packets[:8], packets_of(tmp_path / "whole.mkv")[7], *packets[8:]]:
            packet.stream = stream
            target.mux(packet)
    numbers, reason, _ = shown(tmp_path / "twice.mkv")
    assert (numbers, reason) == (first(8), "doubled_frames")


@pytest.mark.parametrize(("num_lines", "reason"), [(60, "missing_frames"), (36, None), (30, None)])
@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_video_that_begins_late_and_has_too_few_frames_lacks_the_first(
    whole, tmp_path, suffix, num_lines, reason
):
    cut = tmp_path / f"cut.{suffix}"
    with (
        av.open(str(whole)) as source,
        av.open(str(cut), "w", options={"avoid_negative_ts": "disabled"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in packets_of(whole)[24:]:
            packet.stream = stream
            target.mux(packet)
    numbers, why, notes = shown(cut, num_lines)
    assert (numbers[:num_lines], why) == ([] if reason else list(range(24, 60))[:num_lines], reason)
    assert [note.split(" comes")[0] for note in notes] == (["frame 0"] if num_lines == 36 else [])


@pytest.mark.parametrize(("lost", "num_good"), [(0, 0), (1, 24)])
def test_a_lost_fragment_ends_the_video_before_it(whole, tmp_path, lost, num_good):
    fragmented = tmp_path / "fragments.mp4"
    run_ffmpeg("-i", whole, "-c", "copy", "-movflags", "frag_keyframe+empty_moov+default_base_moof", fragmented)
    assert shown(fragmented)[:2] == (first(60), None)
    data, boxes = fragmented.read_bytes(), []
    while data:
        size = int.from_bytes(data[:4], "big")
        boxes.append(data[:size])
        data = data[size:]
    starts = [index for index, box in enumerate(boxes) if box[4:8] == b"moof"]
    del boxes[starts[lost] : starts[lost] + 2]
    fragmented.write_bytes(b"".join(box for box in boxes if box[4:8] != b"mfra"))
    assert shown(fragmented)[:2] == (first(num_good), "missing_frames")


@pytest.mark.parametrize("num_lines", [60, 59], ids=["line for each coded frame", "line for each packet left"])
@pytest.mark.parametrize("lost", [1, 4, 5, 6, 23, 30, 31, 32, 33])
def test_a_missing_packet_ends_the_video_before_it(whole, tmp_path, lost, num_lines):
    place = without(whole, lost, tmp_path / "lost.mp4")
    numbers, reason, _ = shown(tmp_path / "lost.mp4", num_lines)
    assert numbers == first(len(numbers))
    assert reason in ("bad_frame", "missing_frames")
    assert place - 4 <= len(numbers) <= place  # frames that waited to be put in order may be lost as well


def test_a_lost_first_key_frame_leaves_nothing_to_trust(whole, tmp_path):
    without(whole, 0, tmp_path / "lost.mp4")
    assert shown(tmp_path / "lost.mp4")[:2] == ([], "lost_frames")


def test_a_missing_packet_of_another_codec_shows_in_the_times(tmp_path):
    """A chunk of an avi that is empty is a frame that was dropped."""
    run_ffmpeg(
        *RAW,
        *("-c:v", "mpeg4", "-q:v", "3", "-g", "24", tmp_path / "a.avi"),
        frames=coded_frames(0, NUM_FRAMES),
    )
    assert shown(tmp_path / "a.avi") == (first(60), None, [])
    without(tmp_path / "a.avi", 30, tmp_path / "lost.avi")
    assert shown(tmp_path / "lost.avi") == (first(30), "missing_frames", [])


@pytest.mark.parametrize("ending", ["mp4", "mkv"])
def test_a_pause_is_noted_where_frames_and_lines_are_equally_many(tmp_path, ending):
    run_ffmpeg(
        *RAW,
        *("-vf", "setpts='PTS+gte(N,30)*2/TB'", "-fps_mode", "passthrough", tmp_path / f"a.{ending}"),
        frames=coded_frames(0, NUM_FRAMES),
    )
    note = "frame 30 comes 2.05 s after the one before it; there are as many frames as lines"
    assert shown(tmp_path / f"a.{ending}", 60) == (first(60), None, [note])
    assert shown(tmp_path / f"a.{ending}", 61) == (first(30), "missing_frames", [])


@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_zeros_in_a_packet_end_the_video_before_its_frame(whole, tmp_path, place):
    packet = packets_of(whole)[24]
    assert packet.is_keyframe  # so that its place is 24
    at = {"first": 2, "middle": packet.size // 2, "last": packet.size - 5}[place]
    data = bytearray(whole.read_bytes())
    data[packet.pos + at : packet.pos + at + 5] = bytes(5)
    numbers, reason, _ = shown(io.BytesIO(data))
    assert (numbers, reason) == (first(24), "bad_frame")


def test_a_slice_that_is_missing_is_told_by_the_concealment(tmp_path):
    options = ("-x264-params", "slices=4", "-bf", "0")
    write_video(tmp_path / "a.mp4", coded_frames(0, NUM_FRAMES), extra=options)
    with av.open(str(tmp_path / "a.mp4")) as source, av.open(str(tmp_path / "b.mp4"), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for index, packet in enumerate(packet for packet in source.demux(video=0) if packet.size):
            out = packet
            if index == 30:
                data, at = bytes(packet), 0
                while (following := at + 4 + int.from_bytes(data[at : at + 4], "big")) < len(data):
                    at = following
                out = av.Packet(data[:at])
                out.pts, out.dts, out.time_base = packet.pts, packet.dts, packet.time_base
            out.stream = stream
            target.mux(out)
    assert shown(tmp_path / "b.mp4")[:2] == (first(30), "bad_frame")


def test_a_zeroed_page_of_a_real_clip_lets_no_wrong_picture_pass(shared):
    with av.open(str(shared / "data/video/human_survival_640x360_20fps.mp4")) as source:
        packets = [packet for packet in source.demux(video=0) if packet.size]
        stop = next(index for index, packet in enumerate(packets) if packet.is_keyframe and index >= 60)
        head = io.BytesIO()
        with av.open(head, "w", format="mp4") as target:
            stream = target.add_stream_from_template(source.streams.video[0])
            for packet in packets[:stop]:
                packet.stream = stream
                target.mux(packet)
    data = head.getvalue()

    def read(frame):
        return zlib.crc32(frame.planes[0])

    expected, reason, _ = shown(io.BytesIO(data), stop, read)
    assert (len(expected), reason) == (stop, None)
    first_page, num_pages = data.find(b"mdat") // 4096 + 1, len(data) // 4096 - 2
    for page in np.linspace(first_page, num_pages, 8).astype(int):
        damaged = bytearray(data)
        damaged[page * 4096 : (page + 1) * 4096] = bytes(4096)
        numbers, reason, _ = shown(io.BytesIO(damaged), stop, read)
        assert reason == "bad_frame", page
        assert numbers == expected[: len(numbers)], page


@pytest.mark.parametrize("filters", ["rotate", "mirror"])
def test_pictures_that_players_turn_are_refused(whole, tmp_path, filters):
    option = ("-display_rotation", "90") if filters == "rotate" else ("-display_hflip",)
    run_ffmpeg(*option, "-i", whole, "-c", "copy", tmp_path / "turned.mp4")
    assert shown(tmp_path / "turned.mp4")[:2] == ([], "not_upright")


def test_cropping_at_the_left_edge_is_exact(tmp_path):
    run_ffmpeg(
        *("-f", "lavfi", "-i", "testsrc2=s=128x128:r=20", "-frames:v", "3", "-pix_fmt", "yuv420p"),
        tmp_path / "a.mp4",
    )
    crop = "h264_metadata=crop_left=10:crop_right=6"
    run_ffmpeg("-i", tmp_path / "a.mp4", "-c", "copy", "-bsf:v", crop, tmp_path / "b.mp4")
    uncropped = [frame.to_ndarray(format="gray") for frame in good_frames(tmp_path / "a.mp4")]
    cropped = [frame.to_ndarray(format="gray") for frame in good_frames(tmp_path / "b.mp4")]
    assert len(cropped) == 3
    for picture, expected in zip(cropped, uncropped, strict=True):
        np.testing.assert_array_equal(picture, expected[:, 10:122])


def test_a_file_with_two_videos_is_refused_and_a_cover_is_no_video(whole, tmp_path):
    run_ffmpeg("-i", whole, "-i", whole, "-map", "0:v", "-map", "1:v", "-c", "copy", tmp_path / "two.mp4")
    with pytest.raises(BadVideo, match="2 video streams, expected 1"):
        read_header(tmp_path / "two.mp4")
    run_ffmpeg("-i", whole, "-frames:v", "1", tmp_path / "cover.png")
    run_ffmpeg(
        *("-i", tmp_path / "cover.png", "-i", whole, "-map", "0", "-map", "1", "-c", "copy"),
        *("-disposition:v:0", "attached_pic", tmp_path / "cover.mp4"),
    )
    assert shown(tmp_path / "cover.mp4")[:2] == (first(60), None)


@pytest.mark.parametrize(
    "words",
    [
        ("a.mkv", "-c:v", "libx264"),
        ("a.mov", "-c:v", "libx264", "-x264-params", "slices=3"),
        ("a.avi", "-c:v", "libx264", "-bf", "2"),
        ("a.avi", "-c:v", "mpeg4", "-bf", "2", "-q:v", "2"),
        ("a.ts", "-c:v", "libx264", "-bf", "2"),
        ("a.webm", "-c:v", "libvpx", "-b:v", "900k", "-auto-alt-ref", "1", "-lag-in-frames", "25"),
        ("a.webm", "-c:v", "libvpx-vp9", "-b:v", "900k", "-cpu-used", "8"),
        ("a.mp4", "-c:v", "libx265", "-x265-params", "log-level=0:keyint=24"),
        ("a.mkv", "-c:v", "ffv1"),
        ("a.mp4", "-c:v", "libx264", "-x264-params", "cqm=jvt:bframes=2:slices=2"),
        ("a.mp4", "-c:v", "libx264", "-x264-params", "tff=1"),
        ("a.mp4", "-c:v", "libx264", "-pix_fmt", "yuv444p", "-x264-params", "bframes=0"),
        ("a.mp4", "-c:v", "libx264", "-tune", "zerolatency", "-x264-params", "intra-refresh=1:sliced-threads=1"),
    ],
    ids=lambda words: " ".join((*words[:3], words[-1])),
)
def test_whole_videos_of_many_kinds_are_used_to_the_end(tmp_path, words):
    run_ffmpeg(
        *RAW,
        *(*words[1:], "-g", "24", "-threads", "1", tmp_path / words[0]),
        frames=coded_frames(0, NUM_FRAMES),
    )
    assert shown(tmp_path / words[0]) == (first(60), None, [])


def test_notes_are_told_in_the_account(tmp_path):
    from pipeline.build.job import build_shards
    from tests.pipeline.inline_engine import InlineEngine
    from tests.pipeline.recordings import TINY, TinyRecording, stored_frames, write_recording

    recording = TinyRecording(1, 60)
    video = write_recording(tmp_path / "in", recording)
    pause = ("-vf", "setpts='PTS+gte(N,30)*0.5/TB'", "-fps_mode", "passthrough")
    write_video(video, coded_frames(1, 60), extra=pause)
    report = build_shards([tmp_path / "in"], tmp_path / "out", TINY, InlineEngine())
    assert [(row["reason"], row["num_frames"]) for row in report.rejected] == [("uneven_times", 0)]
    assert json.loads((tmp_path / "out/rejected.jsonl").read_text())["detail"].startswith("frame 30 comes 0.55 s")
    assert [row[:3] for row in stored_frames(tmp_path / "out")[recording.name]] == [(1, i, i) for i in range(60)]
