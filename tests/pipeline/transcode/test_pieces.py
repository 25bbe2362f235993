"""Pieces of LMDB sets become clips: packet for packet where they fit, else decoded and encoded again."""

import io
import pickle

import av
import numpy as np
import pytest

from pipeline.build.job import build_shards
from pipeline.settings import BuildSettings
from pipeline.transcode.encoding import num_samples
from pipeline.transcode.pieces import CannotCopy, PieceJoiner, join_pieces
from shards.action_space import ACTION_SPACE
from shards.reader import open_dataset
from shards.video import decode_yuv
from tests.pipeline.inline_engine import InlineEngine
from tests.pipeline.lmdb_sets import write_environment
from tests.pipeline.recordings import coded_frames, read_code

POLICY_BUTTONS = ACTION_SPACE.policy_buttons

SETTINGS = BuildSettings(frame_width=32, frame_height=32, clip_frames=64, min_frames=4)


def piece(start, num_frames=32, size=(32, 32), codec="h264", rate=20, options=None):
    """An mp4 as MineStudio's converter makes them: PyAV's defaults at a fixed rate of bits."""
    out = io.BytesIO()
    with av.open(out, mode="w", format="mp4") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.options = options or {}
        planes = coded_frames(2, start + num_frames, size)[start:]
        for frame in planes.reshape(num_frames, size[1] * 3 // 2, size[0]):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="yuv420p")))
        container.mux(stream.encode())
    return out.getvalue()


def packets_of(mp4):
    with av.open(io.BytesIO(mp4)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def decoded(mp4):
    return decode_yuv(mp4, 0, num_samples(mp4))


def test_joined_pieces_show_the_same_pictures_in_the_same_packets():
    pieces = [piece(0), piece(32)]
    clip = join_pieces(pieces, SETTINGS)
    assert packets_of(clip) == packets_of(pieces[0]) + packets_of(pieces[1])
    np.testing.assert_array_equal(decoded(clip), np.concatenate([decoded(pieces[0]), decoded(pieces[1])]))
    assert [read_code(frame) for frame in decoded(clip)] == [(2, frame) for frame in range(64)]


def test_joined_pieces_decode_from_any_frame():
    clip = join_pieces([piece(0), piece(32)], SETTINGS)
    for start in range(64):
        assert read_code(decode_yuv(clip, start, start + 1)[0]) == (2, start)


def test_joined_pieces_have_frame_i_at_i_twentieths():
    # MineStudio's pieces count time in frames of int(fps), whatever that was.
    with av.open(io.BytesIO(join_pieces([piece(0, rate=30), piece(32, rate=30)], SETTINGS))) as container:
        times = [float(frame.pts * frame.time_base) for frame in container.decode(video=0)]
    np.testing.assert_allclose(times, np.arange(64) / 20, atol=1e-9)


def test_joining_the_same_pieces_gives_the_same_bytes():
    assert join_pieces([piece(0), piece(32)], SETTINGS) == join_pieces([piece(0), piece(32)], SETTINGS)


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([piece(0, size=(64, 32))], r"\(64, 32\), expected .*\(32, 32\)"),
        ([piece(0, codec="mpeg4")], "mpeg4 yuv420p"),
        ([piece(0), piece(32, options={"refs": "1", "preset": "ultrafast"})], "different decoder configurations"),
        ([piece(0, 40, options={"g": "40", "sc_threshold": "0"})], "more than 32 frames from one key frame"),
    ],
)
def test_pieces_that_do_not_fit_cannot_be_copied(pieces, message):
    with pytest.raises(CannotCopy, match=message):
        join_pieces(pieces, SETTINGS)


def test_a_piece_with_another_number_of_frames_is_found_out():
    with pytest.raises(CannotCopy, match="a piece has 31 frames, expected 32"):
        PieceJoiner(SETTINGS).add(piece(0, 31), 32)


def test_pieces_that_cross_a_clips_end_cannot_be_copied():
    joiner = PieceJoiner(SETTINGS)
    joiner.add(piece(0, 40), 40)
    with pytest.raises(CannotCopy, match="32 frames cross a clip's end"):
        joiner.add(piece(40, 32), 32)


def write_set(root, pieces, still=(), infos=None):
    """An LMDB set of one episode, whose camera turns by i + 1 hundredths of a degree in frame i.

    Args:
        still: frames in which nothing is done.
        infos: chunks of `meta_info`; None where one is missing.
    """
    frames = np.arange(32 * len(pieces))
    values = {name: np.zeros(len(frames), np.int64) for name in POLICY_BUTTONS}
    values["camera"] = np.stack([np.zeros(len(frames)), (frames + 1) / 100], axis=1)
    values["camera"][list(still)] = 0
    chunks = [
        pickle.dumps({name: value[start : start + 32] for name, value in values.items()})
        for start in range(0, len(frames), 32)
    ]
    modalities = {"image": pieces, "action": chunks, **({"meta_info": infos} if infos else {})}
    for name, content in modalities.items():
        write_environment(root / name / "part-1", {"played-20220101-100000": content})


def stored(out):
    opened = open_dataset(out)
    clips = [opened.read_clip(0, row) for row in opened.clip_rows(0)]
    codes = [read_code(frame) for clip in clips for frame in decoded(clip.video)]
    frames = [int(frame) for clip in clips for frame in clip.arrays.source_frame]
    turns = [round(100 * float(camera[1]), 6) for clip in clips for camera in clip.arrays.camera]
    return clips, codes, frames, turns


def build(source, out, settings=SETTINGS):
    return build_shards([source], out, settings, InlineEngine())


def test_build_takes_the_pieces_of_a_set_as_they_are(tmp_path):
    pieces = [piece(0), piece(32), piece(64)]
    write_set(tmp_path / "in", pieces)
    report = build(tmp_path / "in", tmp_path / "out")
    assert report.rejected == []
    clips, codes, frames, turns = stored(tmp_path / "out")
    assert [packet for clip in clips for packet in packets_of(clip.video)] == [
        packet for data in pieces for packet in packets_of(data)
    ]
    assert codes == [(2, frame) for frame in range(96)]
    assert frames == list(range(96))
    assert turns == [float(frame + 1) for frame in range(96)]


@pytest.mark.parametrize(
    ("settings", "size", "still"),
    [
        ({"copy_pieces": False}, (32, 32), ()),
        ({}, (64, 64), ()),  # another size than the dataset's
        ({}, (32, 32), (5, 40)),  # no-ops to drop
        ({"clip_frames": 48, "keyframe_interval": 16}, (32, 32), ()),  # pieces cross clips' ends
    ],
)
def test_build_encodes_again_what_does_not_fit(tmp_path, settings, size, still):
    write_set(tmp_path / "in", [piece(0, size=size), piece(32, size=size)], still)
    report = build(tmp_path / "in", tmp_path / "out", SETTINGS.model_copy(update=settings))
    assert report.rejected == []
    clips, codes, frames, turns = stored(tmp_path / "out")
    expected = [frame for frame in range(64) if frame not in still]
    assert (codes, frames) == ([(2, frame) for frame in expected], expected)
    assert turns == [float(frame + 1) for frame in expected]
    first = clips[0].video
    assert packets_of(first)[0] != packets_of(piece(0, size=size))[0]


def test_build_keeps_what_a_set_knows_of_each_frame(tmp_path):
    """Also of a frame that is dropped; nothing where a chunk is missing, and None for what is no number."""
    known = [{"isGuiOpen": False, "pos": np.array([frame, 0.5]), "yaw": float("nan")} for frame in range(32)]
    known[7]["events"] = {"minecraft.mine_block:minecraft.stone": 2}
    write_set(tmp_path / "in", [piece(0), piece(32)], still=[7], infos=[pickle.dumps(known), None])
    build(tmp_path / "in", tmp_path / "out")
    dataset = open_dataset(tmp_path / "out")
    lines = list(dataset.read_log(0))
    assert [(line.source_frame, line.frame) for line in lines] == [
        (frame, None if frame == 7 else frame - (frame > 7)) for frame in range(64)
    ]
    told = '"events":{"minecraft.mine_block:minecraft.stone":2}'
    assert lines[7].data.decode() == f'{{"isGuiOpen":false,"pos":[7.0,0.5],"yaw":null,{told}}}\n'
    assert lines[31].data == b'{"isGuiOpen":false,"pos":[31.0,0.5],"yaw":null}\n'
    assert [line.data for line in lines[32:]] == [b"{}\n"] * 32
    assert [(event.frame, event.name, event.count) for event in dataset.events(0)] == [(7, "mine_block:stone", 2)]


@pytest.mark.parametrize(
    ("broken", "num_used", "reason"),
    [
        (None, 32, "video_missing"),
        (piece(32)[:-300], 32, "video_unreadable"),
        (piece(32, 20), 52, "lengths_differ"),
    ],
)
def test_build_uses_a_set_up_to_its_bad_piece(tmp_path, broken, num_used, reason):
    write_set(tmp_path / "in", [piece(0), broken, piece(64)])
    report = build(tmp_path / "in", tmp_path / "out")
    assert [(row["reason"], row["first_frame"], row["num_frames"]) for row in report.rejected] == [
        (reason, num_used, 96 - num_used)
    ]
    _, codes, frames, _ = stored(tmp_path / "out")
    assert (codes, frames) == ([(2, frame) for frame in range(num_used)], list(range(num_used)))
