"""Every source frame is accounted for: kept, dropped as a no-op, or left out with a reason."""

import json
import os
import pickle
from pathlib import Path

from pipeline.build.job import build_shards
from pipeline.build.summary import summary_lines
from pipeline.look.episode_facts import episode_facts, episode_lines
from pipeline.look.lane_options import LaneOptions
from pipeline.look.overview import overview_of
from pipeline.look.overview_text import overview_lines
from pipeline.look.recording_accounts import account_lines, recording_accounts
from pipeline.look.report import fitting_plan, report_page
from pipeline.look.verify import verify
from shards.clip import Interaction
from shards.manifest import REJECTED_FILE
from shards.reader import open_dataset
from tests.pipeline.inline_engine import InlineEngine
from tests.pipeline.recordings import TINY, TinyRecording, log_line, masks_of, stored_frames, write_recording

LOG_BESIDE = "beside it, or in jsonl beside mp4 or videos."


def build(tmp_path, settings=TINY):
    report = build_shards([tmp_path / "in"], tmp_path / "out", settings, InlineEngine())
    rows = [json.loads(line) for line in (tmp_path / "out" / REJECTED_FILE).read_text().splitlines()]
    return report, rows


def frames_by_reason(rows):
    return [(row["recording"], row["reason"], row["first_frame"], row["num_frames"]) for row in rows]


def test_frames_found_are_those_kept_dropped_and_left_out(tmp_path):
    folder = tmp_path / "in"
    whole = TinyRecording(1, 40, stem="a", noops=range(10, 15))
    broken = TinyRecording(2, 50, stem="b", noops=[3, 45], lines={30: "{"})
    longer = TinyRecording(3, 20, stem="c", num_video_frames=26)
    short = TinyRecording(4, 5, stem="d", noops=[0, 1])  # 3 frames that do something, fewer than min_frames
    for recording in (whole, broken, longer, short):
        write_recording(folder, recording)
    write_recording(folder, TinyRecording(5, 12, stem="lone-video"))
    (folder / "lone-video.jsonl").unlink()
    write_recording(folder, TinyRecording(6, 7, stem="lone-log"))
    (folder / "lone-log.mp4").unlink()
    report, rows = build(tmp_path)
    assert frames_by_reason(rows) == [
        ("b", "broken_line", 30, 20),
        ("c", "lengths_differ", 20, 6),
        ("d", "too_short", 0, 3),
        ("lone-log", "missing_video", 0, 7),
        ("lone-video", "missing_log", 0, 12),
    ]
    counts = open_dataset(str(tmp_path / "out")).info.counts
    assert (counts["num_frames"], counts["num_noop_frames"], counts["num_rejected_frames"]) == (
        35 + 29 + 20,
        5 + 1 + 2,
        20 + 6 + 3 + 7 + 12,
    )
    assert 84 + 8 + 48 == 40 + 50 + 26 + 5 + 12 + 7
    dataset = open_dataset(str(tmp_path / "out"))
    by_recording = recording_accounts(dataset)
    assert [(one.name, one.num_frames, one.num_kept, one.num_noops, one.num_left_out) for one in by_recording] == [
        ("a", 40, 35, 5, 0),
        ("b", 50, 29, 1, 20),
        ("c", 26, 20, 0, 6),
        ("d", 3, 0, 0, 3),
        ("lone-log", 7, 0, 0, 7),
        ("lone-video", 12, 0, 0, 12),
    ]
    lines = list(account_lines(dataset, by_recording))
    assert lines[2::5] == [
        "  b                  50         29          1         20  broken_line",
        "Of 140 source frames 84 were kept, 8 dropped as no-ops and 48 left out.",
    ]
    assert (
        list(account_lines(dataset, by_recording))[-1]
        == "2 no-ops of episodes that were too short are in no line."
    )
    account = "Of 140 source frames 84 were kept, 8 dropped as no-ops and 48 left out."
    assert account in summary_lines(report)
    assert account in overview_lines(overview_of(open_dataset(str(tmp_path / "out"))))
    assert account in report_page(fitting_plan(LaneOptions([str(tmp_path / "out")])))


def test_nothing_left_out_is_said_only_when_that_is_so(tmp_path):
    write_recording(tmp_path / "in", TinyRecording(1, 40, stem="a", noops=[7]))
    lines = summary_lines(build(tmp_path)[0])
    assert lines[1:3] == [
        "Of 40 source frames 39 were kept, 1 dropped as no-ops and 0 left out.",
        "Nothing was left out.",
    ]


def test_many_alike_are_one_line_with_their_names(tmp_path):
    write_recording(tmp_path / "in", TinyRecording(1, 40, stem="a"))
    for name in "bcdef":
        (tmp_path / "in" / f"{name}.jsonl").write_text(json.dumps(log_line(TinyRecording(2, 1), 0)) + "\n")
    (tmp_path / "in" / "g.mp4").write_text("no video")
    lines = summary_lines(build(tmp_path)[0])
    frames = "Of 45 source frames 40 were kept, 0 dropped as no-ops and 5 left out"
    beside = "beside it, or in mp4 or videos beside jsonl."
    assert lines[1:6] == [
        f"{frames}, and 1 recording of unknown length.",
        "Left out or used in part: missing_video 5 (5 frames), missing_log 1 (0 frames).",
        f"  b, c, d and 2 more: missing_video, the log has no video of the same name. Put b.mp4 {beside}",
        f"  {tmp_path}/in/g.mp4: missing_log, the video has no log of the same name. Put g.jsonl {LOG_BESIDE}",
        f"  All 6 lines are in {tmp_path}/out/rejected.jsonl",
    ]


def test_line_that_is_missing_ends_the_usable_part_whatever_the_counts_say(tmp_path):
    """The video has one frame more than the log has lines, as whole recordings have."""
    recording = TinyRecording(1, 30, stem="a")
    write_recording(tmp_path / "in", recording)
    log = tmp_path / "in" / "a.jsonl"
    lines = log.read_text().splitlines(keepends=True)
    log.write_text("".join(lines[:12] + lines[13:]))
    _, rows = build(tmp_path)
    assert stored_frames(tmp_path / "out") == {"a": [(1, frame, frame, frame + 1.0) for frame in range(12)]}
    assert frames_by_reason(rows) == [("a", "counter_jumps", 12, 17)]


def test_masks_behind_a_dangling_link_cost_the_masks_only(tmp_path):
    folder = tmp_path / "in"
    write_recording(folder, TinyRecording(1, 20, stem="a", interactions=[(2, "mine", 3, 9)]))
    (folder / "a.rle").rename(tmp_path / "gone.rle")
    (folder / "a.rle").symlink_to(tmp_path / "gone.rle")
    (tmp_path / "gone.rle").unlink()
    report, rows = build(tmp_path)
    assert (report.info.counts["num_frames"], report.info.counts["num_interactions"]) == (20, 0)
    assert frames_by_reason(rows) == [("a", "masks_unreadable", 0, 0)]


def test_recording_whose_name_is_no_text_costs_only_itself(tmp_path):
    folder = tmp_path / "in"
    write_recording(folder, TinyRecording(1, 20, stem="a"))
    odd = Path(os.fsdecode(b"b\xe9"))
    for extension in (".mp4", ".jsonl"):
        (folder / f"{odd}{extension}").write_bytes((folder / f"a{extension}").read_bytes())
    report, rows = build(tmp_path)
    assert report.info.counts["num_frames"] == 20
    assert frames_by_reason(rows) == [("b\\udce9", "bad_name", 0, 20)]


def test_masks_of_frames_that_are_not_there_are_told(tmp_path):
    recording = TinyRecording(1, 20, stem="a", interactions=[(2, "mine", 3, 9)])
    write_recording(tmp_path / "in", recording)
    late = TinyRecording(1, 40, interactions=[(2, "mine", 3, 9), (0, "hunt", 15, 24)])
    (tmp_path / "in" / "a.rle").write_bytes(pickle.dumps(masks_of(late)))
    _, [row] = build(tmp_path)
    assert (row["reason"], row["first_frame"], row["num_frames"]) == ("mask_unused", 20, 0)
    assert row["detail"] == "4 frames have masks that are not among the recording's 20"


def test_interaction_cut_off_by_the_end_of_the_data_keeps_its_stop(tmp_path):
    """The video ends at frame 20, in the middle of a hunt; the no-op in it is dropped."""
    recording = TinyRecording(
        1, 30, stem="a", num_video_frames=20, noops=[16], interactions=[(2, "mine", 3, 9), (0, "hunt", 15, 24)]
    )
    write_recording(tmp_path / "in", recording)
    build(tmp_path)
    dataset = open_dataset(str(tmp_path / "out"))
    mine, hunt = Interaction(2, "mine", 3, 9), Interaction(0, "hunt", 15, 19, cut_frames=4)
    assert dataset.interactions(0) == [mine, hunt]
    [_, last] = [dataset.read_clip(0, row) for row in dataset.clip_rows(0)]
    assert last.info.interactions == {1: hunt}
    assert verify(dataset).faults == []
    assert any("15:19 + 4 cut off" in line for line in episode_lines(episode_facts(dataset, "a")))
